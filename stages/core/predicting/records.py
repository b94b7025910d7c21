"""What was found, for other programs: COCO results and their images, a CSV table, and crops."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.core.masks.pasting import detections_to_rles
from stages.core.predicting.requests import rle_to_text
from stages.core.processing.detections import Detections

CSV_COLUMNS = (
    "image_id", "image", "class_id", "class", "score", "x_min", "y_min", "x_max", "y_max", "mask_pixels",
)  # fmt: skip


def to_coco_results(image_id: int, detections: Detections) -> list[dict[str, Any]]:
    """Entries of a COCO result file: `bbox` is [x, y, width, height] in pixels, `segmentation` a compressed RLE."""
    entries: list[dict[str, Any]] = []
    rles = detections_to_rles(detections) if detections.masks is not None else []
    for index in range(len(detections)):
        x_min, y_min, x_max, y_max = (float(value) for value in detections.boxes_xyxy[index])
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": int(detections.classes[index]),
            "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
            "score": float(detections.scores[index]),
        }
        if rles:
            entry["segmentation"] = rle_to_text(rles[index])
        entries.append(entry)
    return entries


def to_coco_images(images: Iterable[Mapping[str, Any]], labels: Mapping[int, str]) -> dict[str, Any]:
    """The tree that COCO tools load before a result file: what its image and category ids stand for."""
    categories = [{"id": category, "name": name} for category, name in labels.items()]
    return {"images": list(images), "categories": categories, "annotations": []}


def to_csv_rows(
    image_id: int, file_name: str, detections: Detections, labels: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Rows of the table: corners in pixels to two decimals, maxima exclusive; mask_pixels is empty without masks."""
    rows = []
    areas = [mask_area(rle) for rle in detections_to_rles(detections)] if detections.masks is not None else None
    for index in range(len(detections)):
        category = int(detections.classes[index])
        corners = [f"{value:.2f}" for value in detections.boxes_xyxy[index]]
        area = "" if areas is None else areas[index]
        values = (image_id, file_name, category, labels.get(category, ""), f"{detections.scores[index]:.4f}")
        rows.append(dict(zip(CSV_COLUMNS, (*values, *corners, area), strict=True)))
    return rows


def mask_area(rle: dict[str, Any]) -> int:
    """Pixels of a mask in compressed run-length code."""
    from faster_coco_eval.core import mask as coco_mask

    return int(coco_mask.area(rle))


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """The table with its heading, in UTF-8."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def write_crops(
    pixels: np.ndarray, detections: Detections, labels: Mapping[int, str], folder: Path, *, name: str
) -> None:
    """Every box's pixels as PNG, `<folder>/<class>/<name>_<number>.png`; numbers from 1, best score first."""
    for index in range(len(detections)):
        left, top = np.floor(detections.boxes_xyxy[index][:2]).astype(int)
        right, bottom = np.ceil(detections.boxes_xyxy[index][2:]).astype(int)
        category = int(detections.classes[index])
        class_folder = folder / folder_name(labels.get(category, ""), category)
        class_folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[top:bottom, left:right]).save(class_folder / f"{name}_{index + 1}.png")


def folder_name(label: str, category: int) -> str:
    """A class name as the name of a folder, whatever characters it has."""
    return re.sub(r"[^\w.-]+", "_", label).strip("._") or f"class_{category}"
