"""From what an annotation claims to a checked `Sample`. Runs in worker processes."""

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from stages.core.datasets.box_counts import BoxCounts, count_boxes
from stages.core.datasets.decoding import DecodedImage, RefusedError, decode_image
from stages.core.datasets.near_duplicates import difference_hash
from stages.core.datasets.outlines import scale_outline
from stages.core.datasets.samples import BoxForm, Sample, SampleObject, SourceImage, SourceObject
from stages.core.masks.segmentations import Box, MaskError, Rle, encode_mask, mask_to_box, segmentation_to_mask
from stages.core.results.preparation import ImageFate

ROUNDING_PX = 1e-3
"""A box that leaves the image by less was rounded by its annotation tool: it is cut back without being counted."""
MIN_SIDE_PX = 1e-3
"""A box with a shorter side has no area."""
SHRUNK_TO = 128
"""The input's side that `prepare.min_shrunk_side` is measured at, in pixels: the smallest that is common."""


@dataclass(frozen=True, kw_only=True)
class CheckTask:
    """One image to check.

    Attributes:
      repaired_path: Where a repaired copy goes, without suffix.
      needs_masks: Whether an object without a mask is rejected.
      difficult, exif, min_shrunk_side: As in `PrepareParams`.
      box_form: How the source states boxes.
      with_hash: Whether images are compared by looks.
    """

    image: SourceImage
    repaired_path: Path
    max_side: int
    needs_masks: bool
    difficult: Literal["ignore", "keep", "drop"] = "ignore"
    exif: Literal["auto", "turn", "keep"] = "auto"
    min_shrunk_side: int = 0
    box_form: BoxForm = "corners"
    with_hash: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckedImage:
    """A sample, or None for a rejected image; and everything that was repaired or rejected on the way."""

    sample: Sample | None
    num_objects: int
    fates: tuple[ImageFate, ...] = ()
    boxes: BoxCounts = field(default_factory=BoxCounts)


def check_image(task: CheckTask) -> CheckedImage:
    """Decodes one image and fits its objects to it; a repaired copy is written where pixels or suffix needed repair."""
    image = task.image
    try:
        if image.refusal:
            raise RefusedError(image.refusal.reason, image.refusal.detail)
        path = locate_image(image.folder, image.file)
        decoded = decode_image(
            read_bytes(path),
            file=image.file,
            max_side=task.max_side,
            annotated_size=image.size,
            has_objects=bool(image.objects),
            exif=task.exif,
        )
        _check_shape(decoded, task.min_shrunk_side)
    except RefusedError as refused:
        fate = ImageFate(file=image.file, kind="image", action="rejected", reason=refused.reason, detail=refused.detail)
        return CheckedImage(sample=None, num_objects=len(image.objects), fates=(fate,))
    if decoded.repairs:
        path = task.repaired_path.with_suffix({"jpeg": ".jpg", "png": ".png"}[decoded.format])
        path.write_bytes(decoded.encoded)
    return _check_objects(task, path, decoded)


def _to_pixels(image: SourceImage, height: int, width: int) -> SourceImage:
    objects = []
    for found in image.objects:
        box = None if found.box_xyxy is None else scale_outline([found.box_xyxy], width, height)[0]
        outline = found.segmentation
        objects.append(
            replace(
                found,
                box_xyxy=None if box is None else (box[0], box[1], box[2], box[3]),
                segmentation=scale_outline(outline, width, height) if isinstance(outline, list) else outline,
            )
        )
    return replace(image, unit="pixels", objects=tuple(objects))


def _check_shape(decoded: DecodedImage, min_shrunk_side: int) -> None:
    height, width = decoded.pixels.shape[:2]
    shrunk = min(height, width) * SHRUNK_TO / max(height, width)
    if max(height, width) > SHRUNK_TO and shrunk < min_shrunk_side:
        raise RefusedError(
            "too_narrow",
            f"{width}x{height}: {shrunk:.1f} pixels are left of its shorter side when the longer one shrinks to "
            f"{SHRUNK_TO}; prepare.min_shrunk_side is {min_shrunk_side}",
        )


def locate_image(folder: Path, file: str) -> Path:
    """Path of an image that an annotation names.

    Raises:
      RefusedError: if the name leads out of the folder, or there is no such file.
    """
    pure = PurePosixPath(file.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or "\0" in file or not pure.name or ":" in pure.parts[0]:
        raise RefusedError("unsafe_name", "the file name leads out of the image folder")
    path = folder / pure
    try:
        found = path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise RefusedError("missing_file", str(error.strerror)) from None
    if not found:
        raise RefusedError("missing_file", f"not in {folder.name}/")
    return path


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
      RefusedError: `unreadable`, if the system does not give them.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedError("unreadable", str(error.strerror)) from None


def _check_objects(task: CheckTask, path: Path, decoded: DecodedImage) -> CheckedImage:
    height, width = decoded.pixels.shape[:2]
    image = task.image if task.image.unit == "pixels" else _to_pixels(task.image, height, width)
    details = {**dict.fromkeys(decoded.repairs, ""), **decoded.details}
    if image.listed_as is not None:
        details["found_by_name"] = f"listed as {image.listed_as!r}"
    fates = [
        ImageFate(file=image.file, kind="image", action="repaired", reason=reason, detail=detail)
        for reason, detail in details.items()
    ]
    objects = []
    seen: set[str] = set()
    for number, source in enumerate(image.objects, start=1):
        try:
            if repr(source) in seen:
                raise RefusedError("duplicate", "the same class, box and mask again")
            seen.add(repr(source))
            if source.is_difficult and task.difficult == "drop":
                raise RefusedError("difficult", "prepare.difficult is drop")
            found, repairs = check_object(source, height, width, needs_mask=task.needs_masks)
        except RefusedError as refused:
            detail = f"object {number}: {refused.detail}"
            fates.append(
                ImageFate(file=image.file, kind="object", action="rejected", reason=refused.reason, detail=detail)
            )
            continue
        is_ignored = found.is_crowd or (found.is_difficult and task.difficult == "ignore")
        objects.append(replace(found, is_ignored=is_ignored))
        if repairs:
            detail = f"object {number}: {source.box_xyxy}"
            fates.append(ImageFate(file=image.file, kind="object", action="repaired", reason=repairs[0], detail=detail))
    sample = Sample(
        source_file=image.file,
        path=path,
        format=decoded.format,
        height=height,
        width=width,
        pixels_sha256=hashlib.sha256(f"{height}x{width}:".encode() + decoded.pixels.tobytes()).hexdigest(),
        split=image.split,
        difference_hash=difference_hash(decoded.pixels) if task.with_hash else None,
        objects=tuple(objects),
    )
    boxes = count_boxes([found.box_xyxy for found in image.objects], height, width, task.box_form)
    return CheckedImage(sample=sample, num_objects=len(image.objects), fates=tuple(fates), boxes=boxes)


def check_object(source: SourceObject, height: int, width: int, *, needs_mask: bool) -> tuple[SampleObject, list[str]]:
    """Fits one object to its image.

    Returns:
      The object, and what was repaired: `box_from_mask`, `mask_from_box` (of a crowd, which is a region) or
      `box_clipped`, or nothing.

    Raises:
      RefusedError: with one of the reasons `no_mask`, `bad_mask`, `no_box`, `box_not_finite`, `box_outside`,
        `box_zero_area`.
    """
    repairs = []
    claimed = source.box_xyxy
    lacks_box = claimed is None or _is_flat(claimed)
    mask = None
    if source.segmentation is not None and (needs_mask or lacks_box):
        try:
            mask = segmentation_to_mask(source.segmentation, height, width)
        except MaskError as error:
            if needs_mask:
                raise RefusedError("bad_mask", str(error)) from None
    if lacks_box and mask is not None:
        claimed = mask_to_box(mask)
        repairs.append("box_from_mask")
    if claimed is None:
        raise RefusedError("no_box", "no bounding box that can be read")
    box = clip_box(claimed, height, width)
    if needs_mask and mask is None:
        if not source.is_crowd:
            raise RefusedError("no_mask", "other objects of this data set have one")
        mask = _box_to_mask(box, height, width)
        repairs.append("mask_from_box")
    if max(abs(was - now) for was, now in zip(claimed, box, strict=True)) > ROUNDING_PX:
        repairs.append("box_clipped")
    if not needs_mask:
        mask = None
    rle: Rle | None = None if mask is None else encode_mask(mask)
    area = float(mask.sum()) if mask is not None else (box[2] - box[0]) * (box[3] - box[1])
    if source.area is not None and math.isfinite(source.area) and source.area > 0 and not repairs:
        area = source.area
    return (
        SampleObject(
            category_id=source.category_id,
            box_xyxy=box,
            mask=rle,
            area=area,
            is_crowd=source.is_crowd,
            is_difficult=source.is_difficult,
            is_truncated=source.is_truncated,
        ),
        repairs,
    )


def _is_flat(box: Box) -> bool:
    return all(map(math.isfinite, box)) and min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PX


def _box_to_mask(box: Box, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    mask[math.floor(box[1]) : math.ceil(box[3]), math.floor(box[0]) : math.ceil(box[2])] = True
    return mask


def clip_box(box: Box, height: int, width: int) -> Box:
    """The part of a box inside the image, in pixels [x_min, y_min, x_max, y_max].

    Raises:
      RefusedError: if it is not finite, has no area, or is outside.
    """
    if not all(math.isfinite(value) for value in box):
        raise RefusedError("box_not_finite", str(list(box)))
    x_min, y_min, x_max, y_max = box
    if x_max - x_min < MIN_SIDE_PX or y_max - y_min < MIN_SIDE_PX:
        raise RefusedError("box_zero_area", f"[x_min, y_min, x_max, y_max] = {list(box)}")
    clipped = (max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height)))
    if clipped[2] - clipped[0] < MIN_SIDE_PX or clipped[3] - clipped[1] < MIN_SIDE_PX:
        raise RefusedError("box_outside", f"{list(box)} in an image of {width}x{height}")
    return clipped
