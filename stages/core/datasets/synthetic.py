"""The built-in data set: seeded scenes of textured shapes that occlude each other, with exact masks.

Every scene has a seed of its own, so that it does not matter in which order, or in how many processes, they are drawn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stages.core.datasets.samples import SPLITS, Source, SourceImage, SourceObject, Split
from stages.core.datasets.workers import Workers
from stages.core.masks.segmentations import encode_mask, mask_to_box

JPEG_QUALITY = 95
MIN_VISIBLE_FRACTION = 0.4
"""A shape is not drawn where it would leave less of itself or of another one to be seen: what is drawn is labelled."""
PLACEMENT_TRIES = 50
DIAMETER_RANGE = (0.17, 0.5)
"""Of a shape, in units of the scene's longest side, or of the shorter one where both are given."""

SceneSize = int | tuple[int, int]
"""Longest side, the other one varies between 3/4 of it and all of it; or (height, width) of every scene. In pixels."""


def _circle_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.hypot(x, y) - 1.0)


def _polygon_distance(num_corners: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Distance to a regular polygon with corners on the unit circle: the farthest of its edges' lines."""
    normals = (2 * np.arange(num_corners) + 1) * math.pi / num_corners - math.pi / 2
    apothem = math.cos(math.pi / num_corners)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        edges = [x * math.cos(angle) + y * math.sin(angle) - apothem for angle in normals]
        return np.asarray(np.max(edges, axis=0))

    return distance


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle_distance,
    "square": _polygon_distance(4),
    "triangle": _polygon_distance(3),
}
"""Class name to signed distance from a unit shape's outline (negative inside), for float arrays of coordinates."""


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """One scene to draw.

    Attributes:
      seed: Entropy of this scene alone.
      path: JPEG file to write.
      size: See `SceneSize`.
      max_objects: Scenes hold 1 to so many shapes.
    """

    seed: tuple[int, ...]
    path: Path
    split: Split
    size: SceneSize
    max_objects: int


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its shapes: uint8 [height, width, 3] RGB, and (category id, bool [height, width]) visible masks."""

    pixels: np.ndarray
    objects: tuple[tuple[int, np.ndarray], ...]


def read_synthetic(
    folder: Path, workers: Workers, *, num_images: dict[Split, int], size: SceneSize, max_objects: int, seed: int
) -> Source:
    """Draws the scenes into `folder` and gives them as a source.

    Args:
      folder: Where the JPEG files go, `<split>_<number>.jpg`.
      workers: Who draws them.
      num_images: Scenes per split.
      size: See `SceneSize`.
      max_objects: Most shapes in a scene.
      seed: The same seed gives the same bytes.
    """
    specs = [
        SceneSpec(
            seed=(seed, SPLITS.index(split), index),
            path=folder / f"{split}_{index:05d}.jpg",
            split=split,
            size=size,
            max_objects=max_objects,
        )
        for split in SPLITS
        for index in range(num_images[split])
    ]
    return Source(
        labels=dict(enumerate(SHAPES, start=1)),
        has_masks=True,
        images=workers.map(write_scene, specs, label="drawing scenes"),
    )


def write_scene(spec: SceneSpec) -> SourceImage:
    """Draws one scene and writes its file."""
    scene = draw_scene(np.random.default_rng(spec.seed), spec.size, spec.max_objects)
    Image.fromarray(scene.pixels).save(spec.path, "JPEG", quality=JPEG_QUALITY)
    height, width = scene.pixels.shape[:2]
    return SourceImage(
        folder=spec.path.parent,
        file=spec.path.name,
        size=(height, width),
        split=spec.split,
        objects=tuple(
            SourceObject(
                category_id=category_id,
                box_xyxy=mask_to_box(mask),
                segmentation=encode_mask(mask).to_coco(),
                area=float(mask.sum()),
            )
            for category_id, mask in scene.objects
        ),
    )


def draw_scene(rng: np.random.Generator, size: SceneSize, max_objects: int) -> Scene:
    """Draws 1 to `max_objects` shapes, each over the ones before, on a textured background."""
    if isinstance(size, int):
        unit, short = size, int(rng.integers(math.ceil(size * 0.75), size + 1))
        height, width = (size, short) if rng.random() < 0.5 else (short, size)
    else:
        unit, (height, width) = min(size), size
    canvas = draw_background(rng, height, width)
    objects: list[tuple[int, np.ndarray]] = []
    for _ in range(int(rng.integers(1, max_objects + 1))):
        category_id = int(rng.integers(1, len(SHAPES) + 1))
        alpha = place_shape(rng, category_id, unit, [mask for _, mask in objects], height, width)
        if alpha is None:
            continue
        mask = alpha >= 0.5
        canvas += alpha[..., None] * (draw_texture(rng, height, width) - canvas)
        objects = [(other_id, other & ~mask) for other_id, other in objects]
        objects.append((category_id, mask))
    canvas += rng.normal(0, rng.uniform(0.0, 0.03), canvas.shape)  # sensor noise
    return Scene(np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8), tuple(objects))


def place_shape(
    rng: np.random.Generator, category_id: int, unit: int, others: list[np.ndarray], height: int, width: int
) -> np.ndarray | None:
    """Coverage of a shape where it hides no other too much: float32 [height, width], 0..1; None without room.

    `unit` is what `DIAMETER_RANGE` is a share of, in pixels.
    """
    distance = list(SHAPES.values())[category_id - 1]
    for _ in range(PLACEMENT_TRIES):
        radius = rng.uniform(*DIAMETER_RANGE) * unit / 2
        x, y = unit_coordinates(rng, radius, height, width)
        alpha = np.clip(0.5 - distance(x, y) * radius, 0, 1).astype(np.float32)
        mask = alpha >= 0.5
        # A regular triangle covers 1.3 r², a square 2 r², a circle 3.1 r²: the smallest bounds what the border may cut.
        cut_off = mask.sum() < 1.3 * 0.75 * radius**2
        hides = any((other & ~mask).sum() < MIN_VISIBLE_FRACTION * other.sum() for other in others)
        if not cut_off and not hides:
            return alpha
    return None


def unit_coordinates(rng: np.random.Generator, radius: float, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel in a shape's own frame: moved, turned, stretched a little, in units of its radius."""
    center_x, center_y = rng.uniform(0.08, 0.92) * width, rng.uniform(0.08, 0.92) * height
    angle, stretch = rng.uniform(-math.pi / 6, math.pi / 6), rng.uniform(0.85, 1.18)
    x = np.arange(width, dtype=np.float32)[None, :] + 0.5 - center_x
    y = np.arange(height, dtype=np.float32)[:, None] + 0.5 - center_y
    turned_x = x * math.cos(angle) + y * math.sin(angle)
    turned_y = y * math.cos(angle) - x * math.sin(angle)
    return turned_x / (radius * math.sqrt(stretch)), turned_y * math.sqrt(stretch) / radius


def draw_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A muted gradient under noise of several grain sizes: float32 [height, width, 3], 0..1."""
    return _blend(rng, height, width, saturation=(0.05, 0.35), contrast=(0.1, 0.3))


def draw_texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A more colourful surface, striped in half of the cases: float32 [height, width, 3], 0..1."""
    surface = _blend(rng, height, width, saturation=(0.45, 0.95), contrast=(0.05, 0.2))
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, math.pi), rng.uniform(0.03, 0.08) * max(height, width)
        x, y = np.arange(width)[None, :], np.arange(height)[:, None]
        wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period)
        surface = surface * (1 + rng.uniform(0.1, 0.3) * wave[..., None])
    return surface.astype(np.float32)


def _blend(
    rng: np.random.Generator, height: int, width: int, *, saturation: tuple[float, float], contrast: tuple[float, float]
) -> np.ndarray:
    colors = np.stack([_random_color(rng, saturation) for _ in range(2)])
    angle = rng.uniform(0, 2 * math.pi)
    x, y = np.linspace(-0.5, 0.5, width)[None, :], np.linspace(-0.5, 0.5, height)[:, None]
    ramp = np.clip(x * math.cos(angle) + y * math.sin(angle) + 0.5, 0, 1)[..., None]
    mixed = colors[0] * (1 - 0.6 * ramp) + colors[1] * 0.6 * ramp
    noisy = mixed + rng.uniform(*contrast) * _noise(rng, height, width)[..., None]
    return np.asarray(np.clip(noisy, 0, 1), np.float32)


def _random_color(rng: np.random.Generator, saturation: tuple[float, float]) -> np.ndarray:
    hsv = np.asarray([[[rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(0.3, 0.95)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0])


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of four grain sizes, about -1..1: float32 [height, width]."""
    layers = []
    for cells in (4, 12, 32, 96):
        grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        layers.append(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.asarray(np.mean(layers, axis=0) * 1.6, np.float32)
