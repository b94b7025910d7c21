"""A project on disk whose model files run: prepared pictures, a float reference, cells converted by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.processing.preprocess import preprocess_image
from stages.core.processing.stored_outputs import StoredOutputs, save_outputs
from stages.core.results.conversion import Conversion
from stages.core.results.interface import ImageInput, Interface, PostProcessing, TensorOutput, write_interface
from stages.core.results.kinds import Backend
from stages.core.results.preparation import PrepareReport, SplitSummary
from stages.core.results.status import Status
from stages.core.running.artifact import Artifact
from stages.core.running.open import open_runner
from tests.tflite_builder import SIZE, build_detector, build_segmenter

LABELS = {"1": "red", "2": "green", "3": "blue"}
MODELS = {"retinanet_mobiledet_tiny": build_detector, "maskrcnn_tiny": build_segmenter}
IMAGE_SIDE = 2 * SIZE


def tiny_interface(model: str, **changes: Any) -> Interface:
    """The contract of `build_detector` (retinanet_mobiledet_tiny) or `build_segmenter` (maskrcnn_tiny)."""
    masks = model == "maskrcnn_tiny"
    shapes: dict[str, tuple[int, ...]] = {
        "detection_boxes": (1, 4, 4),
        "detection_classes": (1, 4),
        "detection_scores": (1, 4),
        "num_detections": (1,),
    } | ({"detection_masks": (1, 4, 4, 4)} if masks else {})
    raw = {} if masks else {"raw_boxes": (1, 4, 4), "raw_scores": (1, 4, 3)}
    base = Interface(
        model=model,
        task="segmentation" if masks else "detection",
        variant="trained",
        input=ImageInput(
            name="image", shape=(1, SIZE, SIZE, 3), dtype="float32", pad_value=(0, 0, 0), normalization="pixels / 255"
        ),
        outputs=tuple(TensorOutput(name=name, shape=shapes[name], dtype="float32", meaning="") for name in shapes),
        raw_outputs=tuple(TensorOutput(name=name, shape=raw[name], dtype="float32", meaning="") for name in raw),
        class_offset=1,
        labels=LABELS,
        post_processing=PostProcessing(method="by hand", max_detections=4, score_threshold=0.05, nms_iou_threshold=0.5),
        checkpoint_sha256="0" * 64,
    )
    return replace(base, **changes)


def write_artifact(folder: Path, content: bytes, interface: Interface) -> Artifact:
    """A model file and its contract in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.tflite"
    path.write_bytes(content)
    write_interface(interface, folder)
    return Artifact((path,), hash_file(path), Backend.TFLITE, interface)


def write_conversion(
    layout: Layout, model: str, scheme: str, content: bytes | None, *, status: Status = Status.OK, reason: str = ""
) -> Conversion:
    """One cell as `convert` leaves it; without a file when `content` is None."""
    folder = layout.converted(model, scheme)
    artifact = write_artifact(folder, content, tiny_interface(model)) if content is not None else None
    conversion = Conversion(
        model=model,
        scheme=scheme,
        backend="tflite",
        source="trained",
        status=status,
        reason=reason,
        artifact=artifact.path.name if artifact else None,
        sha256=artifact.sha256 if artifact else None,
        size_bytes=len(content) if content is not None else None,
        versions={},
    )
    write_json(conversion, folder / "result.json")
    return conversion


def write_pictures(folder: Path, *, num_images: int, seed: int = 0) -> dict[int, np.ndarray]:
    """A prepared split: in each picture some quadrants are bright objects, the rest is black. Pixels by image id."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    half, images, annotations, pixels = IMAGE_SIDE // 2, [], [], {}
    for image_id in range(1, num_images + 1):
        picture = np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
        for quadrant in np.flatnonzero(rng.random(4) < 0.6):
            y, x, category = int(quadrant // 2) * half, int(quadrant % 2) * half, int(rng.integers(1, 4))
            picture[y : y + half, x : x + half, category - 1] = rng.integers(90, 256)
            corners = [x, y, x + half, y, x + half, y + half, x, y + half]
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "iscrowd": 0,
                                "bbox": [x, y, half, half], "area": half**2, "segmentation": [corners]})  # fmt: skip
        name = f"{image_id:06d}.png"
        Image.fromarray(picture).save(folder / "images" / name)
        images.append({"id": image_id, "file_name": name, "height": IMAGE_SIDE, "width": IMAGE_SIDE})
        pixels[image_id] = picture
    categories = [{"id": int(key), "name": name} for key, name in LABELS.items()]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(tree))
    return pixels


def write_float_model(layout: Layout, model: str, pixels: dict[int, np.ndarray], *, num_raw: int = 4) -> None:
    """interface.json and the reference outputs of the float model: the hand-made file with a gain of 1."""
    folder = layout.exported(model, "trained")
    artifact = write_artifact(folder, MODELS[model](), tiny_interface(model))
    runner = open_runner(artifact, num_threads=1, keep_raw=True)
    outputs, raw = [], []
    for picture in pixels.values():
        outputs.append(dict(runner.infer(preprocess_image(picture, artifact.interface.input)[0])))
        raw.append(dict(runner.raw_outputs))
    reference = StoredOutputs(
        split="val",
        image_ids=np.asarray(list(pixels), np.int64),
        outputs={name: np.concatenate([row[name] for row in outputs]) for name in outputs[0]},
        raw_image_ids=np.asarray(list(pixels)[:num_raw] if raw[0] else [], np.int64),
        raw_outputs={name: np.concatenate([row[name] for row in raw[:num_raw]]) for name in raw[0]},
    )
    save_outputs(reference, layout.reference(model))


def write_tiny_project(root: Path, *, num_images: int = 12, params: dict[str, Any] | None = None) -> Layout:
    """params.yaml, a prepared val split and both float models; no cell is converted yet."""
    layout = Layout(root)
    tree = {"models": list(MODELS), "schemes": ["float32", "int8"], **(params or {})}
    root.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(tree))
    pixels = write_pictures(layout.split("val"), num_images=num_images)
    write_json(LABELS, layout.labels)
    summary = SplitSummary(num_images=num_images, num_objects=1, objects_per_class={}, sha256="5" * 64)
    counts = dict.fromkeys(
        [f"{kind}_{fate}" for kind in ("images", "objects") for fate in ("found", "kept", "repaired", "rejected")], 0
    )
    report = PrepareReport(source="hand", **counts, reasons={}, fates=(), splits={"val": summary}, sha256="6" * 64)
    write_json(report, layout.prepare_report)
    for model in MODELS:
        write_float_model(layout, model, pixels)
    return layout
