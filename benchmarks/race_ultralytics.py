"""Ultralytics' yolo11n on prepared data of this project: trained by the clock, judged by this project's evaluator."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import Layout
from stages.core.datasets.prepared import load_image, read_split
from stages.core.validating.coco_ap import measure_ap, read_truth

MODEL = "yolo11n"
LOWEST_SCORE = 0.001
WARMUP = 5


def race_ultralytics(prepared: Layout, folder: Path, minutes: float, seed: int, *, side: int) -> list[dict[str, Any]]:
    """Trains yolo11n from scratch and measures it on the test list, unless that is done already.

    Everything that Ultralytics chooses by itself stays as it is (16 images a step, its augmentation and optimizer), but
    for two things in its favour: it trains on every core, where it would leave one to loading images, and evaluates at
    the end only, because its clock counts evaluations and ours does not.

    Args:
      prepared: Layout that holds the prepared data.
      folder: Where runs are kept.
      side: Longer side of the input in pixels; images keep their shape, padded to multiples of 32.

    Returns:
      What `Finish` takes, without minutes and seed.
    """
    out = folder / f"{MODEL}-{minutes:g}-minutes-seed-{seed}"
    if not (out / "finish.json").is_file():
        os.environ.setdefault("YOLO_OFFLINE", "true")  # read at import: nothing is sent or downloaded
        import torch
        from ultralytics import YOLO
        from ultralytics.utils import SETTINGS

        # For this process alone: SETTINGS.update would write the user's settings.
        dict.__setitem__(SETTINGS, "mlflow", False)
        data = write_yolo_data(prepared, folder / "yolo_data")
        shutil.rmtree(out, ignore_errors=True)
        model = YOLO(f"{MODEL}.yaml")
        seen = 0

        def count(trainer: Any) -> None:
            nonlocal seen
            seen += trainer.batch_size

        model.add_callback("on_train_start", lambda trainer: torch.set_num_threads(os.cpu_count() or 1))
        model.add_callback("on_train_batch_end", count)
        settings = {"imgsz": side, "seed": seed, "device": "cpu", "workers": 1, "plots": False, "val": False}
        model.train(data=str(data), time=minutes / 60, project=str(folder), name=out.name, exist_ok=True, **settings)
        torch.set_num_threads(os.cpu_count() or 1)
        measured = _measure(YOLO(str(out / "weights" / "last.pt")), prepared, side)
        write_json({**measured, "images": seen}, out / "finish.json")
    return [read_json(dict[str, Any], out / "finish.json")]


def write_yolo_data(prepared: Layout, folder: Path) -> Path:
    """The prepared splits in YOLO's layout: images linked, a text file of boxes for each; its data.yaml."""
    names: dict[int, str] = {}
    for split in ("train", "val", "test"):
        tree = json.loads(prepared.annotations(split).read_bytes())
        names = {entry["id"] - 1: entry["name"] for entry in tree["categories"]}
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for image in tree["images"]:
            link = folder / "images" / split / image["file_name"]
            if not link.exists():
                os.link(prepared.split(split) / "images" / image["file_name"], link)
            rows = [
                _yolo_row(entry, image)
                for entry in tree["annotations"]
                if entry["image_id"] == image["id"] and not entry.get("iscrowd")
            ]
            (folder / "labels" / split / image["file_name"]).with_suffix(".txt").write_text("".join(rows))
    data = {"path": str(folder), **{split: f"images/{split}" for split in ("train", "val", "test")}, "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return folder / "data.yaml"


def _yolo_row(entry: dict[str, Any], image: dict[str, Any]) -> str:
    x, y, width, height = entry["bbox"]
    sides = image["width"], image["height"]
    center = (x + width / 2) / sides[0], (y + height / 2) / sides[1]
    values = (entry["category_id"] - 1, *center, width / sides[0], height / sides[1])
    return " ".join(str(value) for value in values) + "\n"


def _measure(model: Any, prepared: Layout, side: int) -> dict[str, Any]:
    """AP on the test list by this project's evaluator, and the median time of a prediction on one image."""
    split = read_split(prepared.split("test"))
    results, times = [], []
    for image in split.images:
        pixels = np.ascontiguousarray(load_image(image.path)[..., ::-1])  # Ultralytics takes arrays as BGR
        options = {"imgsz": side, "conf": LOWEST_SCORE, "max_det": 100, "verbose": False, "device": "cpu"}
        started = time.perf_counter()
        (found,) = model.predict(pixels, **options)
        times.append(1000 * (time.perf_counter() - started))
        for (x1, y1, x2, y2), score, number in zip(
            found.boxes.xyxy.tolist(), found.boxes.conf.tolist(), found.boxes.cls.tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": image.image_id, "category_id": int(number) + 1, "bbox": box, "score": score})
    truth = read_truth(split.annotations, [image.image_id for image in split.images])
    ap = measure_ap(truth, results, "bbox")
    return {
        "what": f"{MODEL} PyTorch",
        "ap": ap.ap,
        "ap50": ap.ap50,
        "ap75": ap.ap75,
        "latency_ms": float(np.median(times[WARMUP:])),
    }
