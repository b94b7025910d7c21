"""Rows for crops: CropAndResize and batched gathers as gathers from one table of cells.

A crop stays a description (which boxes, of which maps) for as long as crops are only joined, ordered and cut. Regions
that a pyramid's levels share out are then looked up once each, in one table, and not once for every level.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.substituting.values import Value, concat_parts, gather_axis, take_first
from stages.core.substituting.walker import Rule, Walker, read_attribute


@dataclass(frozen=True, eq=False, kw_only=True)
class Crops(Value):
    """Crops that are not computed yet.

    Attributes:
      maps: Tensors [B, H, W, C], one C.
      boxes: float32 [N, 4]. images: int32 [N], of the batch. levels: int32 [N], index into `maps`.
      cells: (height, width) of a crop.
      method: bilinear or nearest.
      outside: Value of a sample beyond the map.
    """

    maps: tuple[Any, ...]
    boxes: Any
    images: Any
    levels: Any
    cells: tuple[int, int]
    method: str
    outside: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self.boxes.shape[0]), *self.cells, int(self.maps[0].shape[-1]))

    @property
    def tensor(self) -> Any:
        return sample_crops(self)

    def pick(self, indices: Any) -> "Crops":
        """Those at some positions; the length is unchanged."""
        names = ("boxes", "images", "levels")
        return replace(self, **{name: gather_axis(getattr(self, name), indices) for name in names})

    def cut(self, number: int) -> "Crops":
        """The first ones, all of which count."""
        names = ("boxes", "images", "levels")
        parts = {name: take_first(getattr(self, name), 0, number) for name in names}
        return replace(self, axis=None, size=None, **parts)


def sample_crops(crops: Crops) -> Any:
    """float32 [N, *cells, C]: the arithmetic of TensorFlow's CropAndResize kernel, step by step.

    Each step is rounded as the kernel rounds it, which decides whether a sample on a map's last row is inside.
    """
    with tf.name_scope("crops"):
        channels = crops.shape[-1]
        sizes = np.asarray([[int(side) for side in item.shape[:3]] for item in crops.maps])
        table = tf.concat([tf.reshape(item, [-1, channels]) for item in crops.maps], axis=0)
        starts = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))[:-1]])
        start, height, width = (_per_box(column, crops.levels) for column in (starts, sizes[:, 1], sizes[:, 2]))
        base = start + crops.images[:, tf.newaxis] * height * width
        rows = _sample_positions(crops, 0, height)
        columns = _sample_positions(crops, 1, width)
        inside = tf.logical_and(_inside(rows, height)[:, :, tf.newaxis], _inside(columns, width)[:, tf.newaxis, :])

        def look_up(row: Any, column: Any) -> Any:
            positions = (base + row * width)[:, :, tf.newaxis] + column[:, tf.newaxis, :]
            return tf.gather(table, positions)

        if crops.method == "nearest":
            found = look_up(*(_cell(tf.floor(line + 0.5), side) for line, side in ((rows, height), (columns, width))))
        else:
            found = _interpolate(look_up, rows, columns, height, width)
        return tf.where(inside[..., tf.newaxis], found, tf.cast(crops.outside, found.dtype))


def _per_box(numbers: np.ndarray, levels: Any) -> Any:
    table = tf.constant(numbers.astype(np.int32))
    return tf.gather(table, levels)[:, tf.newaxis]


def _sample_positions(crops: Crops, axis: int, side: Any) -> Any:
    """float32 [N, cells] positions along one axis, in the map's cells."""
    low, high, cells = crops.boxes[:, axis : axis + 1], crops.boxes[:, axis + 2 : axis + 3], crops.cells[axis]
    last = tf.cast(side - 1, tf.float32)
    if cells == 1:
        return 0.5 * (low + high) * last
    # A constant divisor would become a product with its rounded reciprocal, in TensorFlow's optimizer and in TFLite's.
    index, number = (crops.levels, len(crops.maps)) if len(crops.maps) > 1 else (crops.images, crops.maps[0].shape[0])
    divisor = tf.cast(_per_box(np.full([number], cells - 1), index), tf.float32)
    step = (high - low) * last / divisor
    return low * last + tf.range(float(cells))[tf.newaxis, :] * step


def _inside(line: Any, side: Any) -> Any:
    return tf.logical_and(line >= 0.0, line <= tf.cast(side - 1, tf.float32))


def _cell(line: Any, side: Any) -> Any:
    """Whole positions, brought into the map."""
    return tf.cast(tf.minimum(tf.maximum(line, 0.0), tf.cast(side - 1, tf.float32)), tf.int32)


def _interpolate(look_up: Any, rows: Any, columns: Any, height: Any, width: Any) -> Any:
    top, bottom = (_cell(round_to(rows), height) for round_to in (tf.floor, tf.math.ceil))
    left, right = (_cell(round_to(columns), width) for round_to in (tf.floor, tf.math.ceil))
    down = (rows - tf.floor(rows))[:, :, tf.newaxis, tf.newaxis]
    along = (columns - tf.floor(columns))[:, tf.newaxis, :, tf.newaxis]

    def line(row: Any) -> Any:
        first = tf.cast(look_up(row, left), tf.float32)
        return first + (tf.cast(look_up(row, right), tf.float32) - first) * along

    upper = line(top)
    return upper + (line(bottom) - upper) * down


def crop(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """CropAndResize: described, and computed where something else than an order of crops needs it."""
    image, boxes, images, cells = inputs
    if not cells.known:
        raise ArtifactError("crop_size depends on the image's content")
    raw = walker.tensor(image)
    if image.padded:
        raise ArtifactError("crops of a list of images whose length another image decides")
    if not raw.shape.is_fully_defined():
        raise ArtifactError(f"a feature map of shape {raw.shape}; state the input's shape")
    raw = raw if raw.dtype == tf.float32 else tf.cast(raw, tf.float32)
    positions = tf.clip_by_value(tf.cast(walker.tensor(images), tf.int32), 0, raw.shape[0] - 1)
    length = next((value for value in (boxes, images) if value.padded), None)
    found = Crops(
        maps=(raw,),
        boxes=walker.tensor(boxes),
        images=positions,
        levels=tf.zeros_like(positions),
        cells=(int(cells.raw[0]), int(cells.raw[1])),
        method=read_attribute(node.attr["method"]) if "method" in node.attr else "bilinear",
        outside=float(node.attr["extrapolation_value"].f),
        axis=None if length is None else 0,
        size=None if length is None else length.size,
    )
    return [found]


def join_crops(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """ConcatV2 of crops: more boxes, more maps."""
    del walker, node
    *parts, axis = inputs
    crops = [part for part in parts if isinstance(part, Crops)]
    kinds = {(part.cells, part.method, part.outside, part.shape[-1]) for part in crops}
    if len(crops) != len(parts) or len(kinds) != 1 or int(axis.raw) != 0:
        return None
    maps: list[Any] = []
    levels = []
    for part in crops:
        levels.append(part.levels + len(maps))
        maps += part.maps
    order, size = concat_parts(crops, 0)
    joined = replace(
        crops[0],
        maps=tuple(maps),
        boxes=tf.concat([part.boxes for part in crops], 0),
        images=tf.concat([part.images for part in crops], 0),
        levels=tf.concat(levels, 0),
    )
    if order is None:
        return [joined]
    joined = joined.pick(order)
    return [joined.cut(size) if isinstance(size, int) else replace(joined, axis=0, size=size)]


def order_crops(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """GatherV2 of crops: the boxes are gathered, before anything is sampled."""
    crops, indices = inputs[:2]
    if not isinstance(crops, Crops) or len(indices.shape) != 1 or int(inputs[2].raw) or node.attr["batch_dims"].i:
        return None
    positions = tf.clip_by_value(walker.tensor(indices), 0, crops.shape[0] - 1)
    return [replace(crops.pick(positions), axis=indices.axis, size=indices.size)]


def cut_crops(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Reshape to a static shape: it says how many crops there are."""
    del walker, node
    crops, target = inputs[0], inputs[1].content
    if not isinstance(crops, Crops) or target is None or any(not isinstance(part, int) for part in target):
        return None
    wanted = [int(part) for part in target]
    number, rest = divmod(int(np.prod(wanted)), int(np.prod(crops.shape[1:])))
    if -1 in wanted or rest or number > crops.shape[0]:
        return None
    return [Value(raw=tf.reshape(crops.cut(number).tensor, wanted))]


def gather_batches(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """GatherV2 with batch dimensions: a plain one from the flattened table (OpenVINO's CPU plugin fails on these)."""
    params, indices, axis = inputs
    batch = int(node.attr["batch_dims"].i)
    batch += len(indices.shape) if batch < 0 else 0
    if not batch or (params.known and indices.known):
        return None
    if params.padded or indices.padded:
        raise ArtifactError("a batched gather of a list")
    walker.counts["GatherV2 (batched)"] += 1
    position, rank, further = int(axis.raw) % len(params.shape), len(params.shape), len(indices.shape) - batch
    between = list(range(batch, position))
    rows = walker.tensor(params)
    if between:
        rows = tf.transpose(rows, [*range(batch), position, *between, *range(position + 1, rank)])
    lead, length = params.shape[:batch], params.shape[position]
    images = int(np.prod(lead))
    table = tf.reshape(rows, [images * length, *rows.shape[batch + 1 :]])
    positions = walker.tensor(indices)
    starts = tf.constant(np.arange(images).reshape([*lead, *[1] * further]) * length, positions.dtype)
    # Added before they are reshaped: LiteRT 2.3 adds in place, and what it reshapes shares memory with the original.
    found = tf.gather(table, tf.reshape(positions + starts, [-1]))
    found = tf.reshape(found, [*lead, *indices.shape[batch:], *rows.shape[batch + 1 :]])
    if between:
        end = batch + further + len(between)
        order = [
            *range(batch),
            *range(batch + further, end),
            *range(batch, batch + further),
            *range(end, len(found.shape)),
        ]
        found = tf.transpose(found, order)
    return [Value(raw=found)]


RULES: dict[str, tuple[Rule, ...]] = {
    "CropAndResize": (crop,),
    "ConcatV2": (join_crops,),
    "GatherV2": (order_crops, gather_batches),
    "Reshape": (cut_crops,),
}
