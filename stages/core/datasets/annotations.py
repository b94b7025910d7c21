"""Ground truth as COCO JSON, whatever came in: one evaluator for everything."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from stages.core.datasets.data_files import to_printable
from stages.core.datasets.samples import Sample

DIFFICULT = "difficult"
"""Key of an annotation that is ignored because it is difficult, beside `iscrowd`: see docs/decisions/0019."""


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """A sample as it is stored in the prepared data: normalised id and file name inside `<split>/images`."""

    image_id: int
    file_name: str
    sample: Sample


def images_to_coco(
    images: Iterable[StoredImage], labels: dict[int, str], annotation_ids: Iterator[int]
) -> dict[str, Any]:
    """A COCO tree that every COCO tool reads.

    Args:
      images: Of one split.
      labels: Category id (from 1) to name.
      annotation_ids: Counter shared by all splits: ids are unique over the whole data set.

    Returns:
      `images` carry the source's file name as `source_file`; `bbox` is [x, y, width, height] in pixels; `segmentation`
      is compressed RLE and absent where there are no masks. Whatever is to be ignored has `iscrowd` 1, which all tools
      read; a single object that is difficult has `difficult` 1 as well.
    """
    images = list(images)
    return {
        "info": {"description": "written by `prepare`; ids are normalised"},
        "licenses": [],
        "images": [
            {
                "id": image.image_id,
                "file_name": image.file_name,
                "width": image.sample.width,
                "height": image.sample.height,
                "source_file": to_printable(image.sample.source_file),
            }
            for image in images
        ],
        "annotations": [annotation for image in images for annotation in _annotations(image, annotation_ids)],
        "categories": [{"id": key, "name": name, "supercategory": ""} for key, name in labels.items()],
    }


def _annotations(image: StoredImage, annotation_ids: Iterator[int]) -> Iterator[dict[str, Any]]:
    for found in image.sample.objects:
        x_min, y_min, x_max, y_max = found.box_xyxy
        annotation = {
            "id": next(annotation_ids),
            "image_id": image.image_id,
            "category_id": found.category_id,
            "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
            "area": found.area,
            "iscrowd": int(found.is_ignored),
        }
        if found.is_ignored and not found.is_crowd:
            annotation[DIFFICULT] = 1
        yield annotation if found.mask is None else {**annotation, "segmentation": found.mask.to_coco()}


def number_annotations() -> Iterator[int]:
    """Ids from 1: COCO's own evaluator takes annotation id 0 for "no match"."""
    return count(1)
