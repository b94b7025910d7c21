"""One small data set, the same objects in every format: six pictures, a nut or a fig in turn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dataset_builder import SQUARE, coco_annotation, coco_tree, encode, picture, write_coco, write_voc
from record_builder import record_features, to_example, write_records

NUM, HEIGHT, WIDTH = 6, 64, 96
NAMES = ("fig", "nut")
X_MIN, Y_MIN, X_MAX, Y_MAX = SQUARE
OUTLINE = [[X_MIN, Y_MIN], [X_MAX, Y_MIN], [X_MAX, Y_MAX], [X_MIN, Y_MAX]]


def label_of(index: int) -> str:
    return NAMES[index % 2]


def write_pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(NUM):
        (folder / f"{index}.jpg").write_bytes(encode(picture(index)))
    return folder


def as_coco(folder: Path, *, masks: bool = False) -> None:
    changes: dict[str, Any] = {} if masks else {"segmentation": None}
    annotations = [coco_annotation(id=i, image_id=i, category_id=i % 2, **changes) for i in range(NUM)]
    categories = [{"id": index, "name": name} for index, name in enumerate(NAMES)]
    write_coco(folder, coco_tree(NUM, annotations=annotations, categories=categories))


def as_voc(folder: Path) -> None:
    write_voc(folder, NUM)
    for index in range(NUM):
        path = folder / "Annotations" / f"{index}.xml"
        name = ("nut", "fig")[index % 2]
        path.write_text(path.read_text().replace(f"<name>{name}<", f"<name>{label_of(index)}<"))


def as_tfrecord(folder: Path) -> None:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), SQUARE, (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True)
    box = {f"object__bbox__{name}": [value / side] for name, value, side in sides}
    examples = [
        to_example(record_features(index, object__class__text=[label_of(index).encode()], **box))
        for index in range(NUM)
    ]
    write_records(folder / "a.record", examples)


def as_csv(folder: Path, header: str = "filename,width,height,class,xmin,ymin,xmax,ymax", separator: str = ",") -> None:
    write_pictures(folder / "images")
    values = {"width": WIDTH, "height": HEIGHT, "xmin": X_MIN, "ymin": Y_MIN, "xmax": X_MAX, "ymax": Y_MAX}
    lines = [header]
    for index in range(NUM):
        row = values | {"filename": f"{index}.jpg", "class": label_of(index)}
        lines.append(",".join(str(row[column]) for column in header.split(",")))
    (folder / "boxes.csv").write_text("\n".join(lines).replace(",", separator) + "\n")


def as_yolo(folder: Path, *, masks: bool = False) -> None:
    write_pictures(folder / "images")
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text("names: [fig, nut]\nnc: 2\n")
    for index in range(NUM):
        numbers = [(X_MIN + X_MAX) / 2 / WIDTH, (Y_MIN + Y_MAX) / 2 / HEIGHT]
        numbers += [(X_MAX - X_MIN) / WIDTH, (Y_MAX - Y_MIN) / HEIGHT]
        if masks:
            numbers = [value for x, y in OUTLINE for value in (x / WIDTH, y / HEIGHT)]
        (folder / "labels" / f"{index}.txt").write_text(" ".join(map(str, [index % 2, *numbers])) + "\n")


def as_labelme(folder: Path, *, kind: str = "polygon") -> None:
    write_pictures(folder)
    points = OUTLINE if kind == "polygon" else [OUTLINE[0], OUTLINE[2]]
    for index in range(NUM):
        shape = {"label": label_of(index), "points": points, "group_id": None, "shape_type": kind, "flags": {}}
        tree = {"version": "5.0.1", "flags": {}, "shapes": [shape], "imagePath": f"{index}.jpg", "imageData": None}
        (folder / f"{index}.json").write_text(json.dumps(tree | {"imageHeight": HEIGHT, "imageWidth": WIDTH}))


def via_region(index: int) -> dict[str, Any]:
    x, y = ([point[axis] for point in OUTLINE] for axis in (0, 1))
    outline = {"name": "polygon", "all_points_x": x, "all_points_y": y}
    return {"shape_attributes": outline, "region_attributes": {"kind": label_of(index)}}


def as_via(folder: Path) -> None:
    write_pictures(folder)
    tree = {
        f"{index}.jpg1234": {"filename": f"{index}.jpg", "size": 1234, "regions": [via_region(index)]}
        for index in range(NUM)
    }
    (folder / "via_region_data.json").write_text(json.dumps(tree))


def as_masks(folder: Path) -> None:
    write_pictures(folder / "images")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[int(Y_MIN) : int(Y_MAX), int(X_MIN) : int(X_MAX)] = 255
    for index in range(NUM):
        path = folder / "masks" / str(index) / f"{label_of(index)}_1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(mask, "PNG"))


WRITERS: dict[str, Callable[[Path], None]] = {
    "coco": as_coco,
    "voc": as_voc,
    "tfrecord": as_tfrecord,
    "csv": as_csv,
    "yolo": as_yolo,
    "labelme": as_labelme,
    "via": as_via,
    "masks": as_masks,
}
"""`prepare.source` to what writes the set in that format."""
