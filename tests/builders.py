"""Values with defaults for tests, and a whole project tree of believable results."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

from stages.core.base.hashing import hash_files, hash_value
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import MODEL_FILES, Layout
from stages.core.processing.stored_outputs import StoredOutputs, save_outputs
from stages.core.results.benchmark import Benchmark, Latency, Machine
from stages.core.results.classes import ClassCurve, ClassResults, Confusion, OperatingPoint
from stages.core.results.conversion import Conversion, OpProof, Proof
from stages.core.results.interface import ImageInput, Interface, PostProcessing, TensorOutput, write_interface
from stages.core.results.kinds import Backend, Form, Precision
from stages.core.results.preparation import PrepareReport, SplitSummary
from stages.core.results.status import Status
from stages.core.results.table import Row, Verdict
from stages.core.results.training import TrainResult
from stages.core.results.validation import (
    Accuracy,
    Agreement,
    ApIntervals,
    AveragePrecision,
    Interval,
    MovedImage,
    Parity,
    Protocol,
    Validation,
)
from stages.core.tables.detectors import DETECTORS
from stages.core.tables.schemes import SCHEMES

LABELS = {"1": "circle", "2": "square", "3": "triangle"}
SHA = "ab" * 32
VERSIONS = {"ai-edge-litert": "2.3.0", "numpy": "2.4.6"}

# Rows that are not named here look like int8.
DROPS = dict.fromkeys(SCHEMES, 0.9) | {
    "float32": 0.0,
    "float16": 0.02,
    "dynamic_range": 0.4,
    "int8_uint8_input": 1.0,
    "int16x8": 0.3,
    "float32_postprocess_op": 1.4,
    "openvino_float32": 0.0,
    "openvino_float16": 0.01,
    "openvino_int8": 0.8,
}
LATENCIES_MS = dict.fromkeys(SCHEMES, 10.0) | {
    "float32": 17.6,
    "float16": 17.9,
    "dynamic_range": 12.1,
    "int8_uint8_input": 9.8,
    "int16x8": 576.0,
    "float32_postprocess_op": 17.7,
    "int8_postprocess_op": 10.1,
    "openvino_float32": 15.0,
    "openvino_float16": 15.1,
    "openvino_int8": 6.0,
}
SIZES = dict.fromkeys(SCHEMES, 3_800_000) | {
    "float32": 13_200_000,
    "float16": 6_700_000,
    "dynamic_range": 3_700_000,
    "int16x8": 3_900_000,
    "float32_postprocess_op": 13_200_000,
    "openvino_float32": 13_400_000,
    "openvino_float16": 6_800_000,
    "openvino_int8": 4_200_000,
}
RUNTIMES = {Backend.TFLITE: ("ai-edge-litert 2.3.0", "XNNPACK"), Backend.OPENVINO: ("openvino 2026.4.0", "CPU plugin")}
NO_OTHER_FORM = "TFLite_Detection_PostProcess ends one-stage detectors only: it has no masks and no second stage"


AWKWARD = "br[1] q?s*,100%#é$'\\x"
"""A folder's name that holds what patterns, lists, addresses and shells give a meaning to."""


def plain(path: Path) -> str:
    """A path that TensorFlow finds, to a file or checkpoint below such a folder; for tests that read it."""
    link = Path(tempfile.mkdtemp(prefix="plain-"), "folder")
    link.symlink_to(path.parent.absolute(), target_is_directory=True)
    return str(link / path.name)


def row(**changes: Any) -> Row:
    """A green row of the results table."""
    base = Row(
        model="retinanet_mobiledet_edgetpu",
        scheme="int8",
        backend="tflite",
        source="trained",
        status=Status.OK,
        reason="",
        artifact="model.tflite",
        sha256=SHA,
        size_bytes=3_800_000,
        gzip_bytes=3_200_000,
        box_ap=64.3,
        mask_ap=None,
        box_ap_float=65.2,
        mask_ap_float=None,
        box_ap_drop=0.9,
        mask_ap_drop=None,
        agreement_f1=0.97,
        num_images=6,
        latency_p50_ms=10.0,
        latency_p90_ms=11.5,
        peak_rss_bytes=62_000_000,
        verdict=Verdict.PASS,
        verdict_reasons=(),
    )
    return replace(base, **changes)


def conversion(model: str = "retinanet_mobiledet_edgetpu", scheme: str = "int8", **changes: Any) -> Conversion:
    artifact, *companions = MODEL_FILES[SCHEMES[scheme].backend]
    base = Conversion(
        model=model,
        scheme=scheme,
        backend=SCHEMES[scheme].backend,
        source=SCHEMES[scheme].source,
        status=Status.OK,
        artifact=artifact,
        companions=tuple(companions),
        sha256=SHA,
        size_bytes=SIZES[scheme],
        calibration_images=100 if SCHEMES[scheme].needs_calibration else 0,
        calibration_sha256=SHA if SCHEMES[scheme].needs_calibration else None,
        versions={"ai-edge-quantizer": "0.10.0", **VERSIONS},
    )
    return replace(base, **changes)


def proof(scheme: str = "int8", **changes: Any) -> Proof:
    table = SCHEMES[scheme]
    weights, activations = table.weights.value, table.activations.value
    share = 0.998 if table.activations is Precision.INT8 else 0.0
    base = Proof(
        ops=(
            OpProof(op="CONV_2D", count=62, activations={activations: 62}, weights={weights: 62}, macs=420_000_000),
            OpProof(
                op="DEPTHWISE_CONV_2D", count=31, activations={activations: 31}, weights={weights: 31}, macs=38_000_000
            ),
            OpProof(op="ADD", count=14, activations={activations: 14}, weights={}, macs=0),
        ),
        tensor_dtypes={weights: 93, activations: 210, "int32": 31},
        macs=458_000_000,
        macs_by_dtype={activations: 458_000_000},
        int8_macs_fraction=share,
        weights_per_channel=93 if weights == "int8" else 0,
        weights_per_tensor=0,
        custom_ops=("TFLite_Detection_PostProcess",) if table.form is Form.POSTPROCESS_OP else (),
        flex_ops=(),
        shared_box_score_scale=False,
        contradictions=(),
    )
    return replace(base, **changes)


def average_precision(ap: float | None, labels: dict[str, str] = LABELS) -> AveragePrecision:
    if ap is None:
        return AveragePrecision(ap=None, ap50=None, ap75=None, ap_small=None, ap_medium=None, ap_large=None)
    per_class: dict[str, float | None] = {
        name: round(ap + 4 * (index - 1), 2) for index, name in enumerate(labels.values())
    }
    return AveragePrecision(
        ap=ap,
        ap50=min(100.0, ap + 24),
        ap75=ap + 8,
        ap_small=ap - 20,
        ap_medium=ap + 1,
        ap_large=None,
        per_class=per_class,
        per_class_ap50={name: min(100.0, (value or 0) + 24) for name, value in per_class.items()},
    )


def ap_intervals(ap: float, drop: float) -> ApIntervals:
    """AP is known to 1.5 points, drops to a twentieth of a point."""
    near_drop = Interval(low=drop - 0.05, high=drop + 0.05)
    return ApIntervals(
        ap=Interval(low=ap - drop - 1.5, high=ap - drop + 1.5),
        ap_float=Interval(low=ap - 1.5, high=ap + 1.5),
        ap_drop=near_drop,
        class_ap_drop=dict.fromkeys(LABELS.values(), Interval(low=drop - 0.37, high=drop + 0.37)),
        resamples=1000,
        confidence=0.95,
    )


def class_results(names: Iterable[str] = tuple(LABELS.values()), *, num_objects: int = 10) -> ClassResults:
    """The first class has `num_objects` objects, each further one a tenth less, the last one none at all."""
    names = tuple(names)
    numbers = [max(1, num_objects - index * num_objects // 10) for index in range(len(names))]
    numbers[-1] = 0 if len(names) > 1 else numbers[-1]
    precision = tuple(round(1 - (recall / 100) ** 3, 4) for recall in range(90))
    best = OperatingPoint(score_threshold=0.4375, precision=0.9, recall=0.8, f1=0.847)
    counts = np.diag([*(number - number // 5 for number in numbers), 0])
    counts[:-1, -1] = [number // 5 for number in numbers]
    counts[-1, 0] = 3
    return ClassResults(
        curves={
            name: ClassCurve(num_objects=number, precision=precision, best=best)
            if number
            else ClassCurve(num_objects=0)
            for name, number in zip(names, numbers, strict=True)
        },
        overall=ClassCurve(num_objects=sum(numbers), precision=precision, best=replace(best, score_threshold=0.5)),
        confusion=Confusion(classes=names, counts=tuple(map(tuple, counts.tolist())), score_threshold=0.3),
    )


def validation(model: str = "retinanet_mobiledet_edgetpu", scheme: str = "int8", **changes: Any) -> Validation:
    masks = DETECTORS[model].has_masks
    box, mask, drop = 65.2, 59.8, DROPS[scheme]
    base = Validation(
        model=model,
        scheme=scheme,
        status=Status.OK,
        artifact_sha256=SHA,
        accuracy=Accuracy(
            box=average_precision(box - drop), mask=average_precision(mask - drop / 2) if masks else None
        ),
        reference=Accuracy(box=average_precision(box), mask=average_precision(mask) if masks else None),
        box_ap_drop=drop,
        mask_ap_drop=drop / 2 if masks else None,
        box_intervals=ap_intervals(box, changes.get("box_ap_drop", drop) or 0),
        mask_intervals=ap_intervals(mask, changes.get("mask_ap_drop", drop / 2) or 0) if masks else None,
        box_classes=class_results(),
        mask_classes=class_results() if masks else None,
        parity=()
        if masks
        else tuple(
            Parity(output=f"{kind}_{level}", sqnr_db=31.5 - 10 * drop, cosine=0.9996, max_abs=0.21, num_images=16)
            for level in (3, 4)
            for kind in ("boxes", "scores")
        ),
        agreement=Agreement(
            precision=0.98,
            recall=0.97,
            f1=0.975 - drop / 40,
            mean_iou=0.95,
            score_shift=-0.006 * drop,
            score_threshold=0.3,
            num_reference=480,
            num_detections=475,
            num_matched=466,
            most_moved=(MovedImage(image_id=3, f1=0.5, score_shift=-0.1),),
        ),
        protocol=Protocol(
            split="val", num_images=6, split_images=6, image_ids_sha256=SHA, data_sha256=SHA, score_floor=0.05
        ),
        seconds=4.2,
        versions=VERSIONS,
    )
    return replace(base, **changes)


def benchmark(model: str = "retinanet_mobiledet_edgetpu", scheme: str = "int8", **changes: Any) -> Benchmark:
    p50 = LATENCIES_MS[scheme] * (0.7 if DETECTORS[model].has_masks else 1.0)
    runtime, delegate = RUNTIMES[SCHEMES[scheme].backend]
    base = Benchmark(
        model=model,
        scheme=scheme,
        status=Status.OK,
        artifact_sha256=SHA,
        latency=Latency(p50_ms=p50, p90_ms=p50 * 1.12, p99_ms=p50 * 1.4, mean_ms=p50 * 1.03, runs=50, warmup=5),
        num_images=10,
        mean_detections=3.2,
        init_ms=21.0,
        peak_rss_bytes=62_000_000 + SIZES[scheme],
        baseline_rss_bytes=38_000_000,
        size_bytes=SIZES[scheme],
        gzip_bytes=int(SIZES[scheme] * 0.86),
        num_threads=2,
        runtime=runtime,
        delegate=delegate,
        machine=Machine(
            cpu="A CPU @ 2.1 GHz", isa_flags=("avx2", "avx512_vnni"), num_cpus=2, system="Linux", python="3"
        ),
    )
    return replace(base, **changes)


def train_result(model: str = "retinanet_mobiledet_edgetpu", **changes: Any) -> TrainResult:
    base = TrainResult(
        model=model,
        variant="trained",
        checkpoint="checkpoint/ckpt-1500",
        checkpoint_sha256=SHA,
        num_classes=3,
        input_size=(256, 256),
        steps=1500,
        best_step=1500,
        stopped_early=False,
        validation={"box_ap": 66.6, "mask_ap": 59.8 if DETECTORS[model].has_masks else None},
        data_sha256=SHA,
        config_sha256=SHA,
        seconds=540.0,
        versions={"tensorflow": "2.20.0"},
    )
    return replace(base, **changes)


def interface(model: str = "retinanet_mobiledet_edgetpu", scheme: str = "int8", *, size: int = 128) -> Interface:
    shapes: dict[str, tuple[int, ...]] = {
        "detection_boxes": (1, 100, 4),
        "detection_classes": (1, 100),
        "detection_scores": (1, 100),
        "num_detections": (1,),
    }
    if DETECTORS[model].has_masks:
        shapes["detection_masks"] = (1, 100, 28, 28)
    uint8 = SCHEMES[scheme].input is Precision.UINT8
    return Interface(
        model=model,
        task=DETECTORS[model].task.value,
        variant="trained",
        input=ImageInput(
            name="image",
            shape=(1, size, size, 3),
            dtype="uint8" if uint8 else "float32",
            pad_value=(124, 116, 104),
            normalization="(pixels - mean) / std",
        ),
        outputs=tuple(
            TensorOutput(name=name, shape=shape, dtype="float32", meaning=name) for name, shape in shapes.items()
        ),
        class_offset=1,
        labels=LABELS,
        post_processing=PostProcessing(
            method="NonMaxSuppressionV4", max_detections=100, score_threshold=0.05, nms_iou_threshold=0.5
        ),
        checkpoint_sha256=SHA,
    )


def history(steps: int = 1500, every: int = 50, *, masks: bool = False) -> dict[str, list[dict[str, float]]]:
    """Loss and rate every `every` steps, validation AP every 500."""
    train = [
        {
            "step": step,
            "total_loss": round(0.4 + 2.5 * float(np.exp(-step / 350)), 4),
            "learning_rate": round(0.01 * (1 + float(np.cos(np.pi * step / steps))), 6),
            "images_per_second": 22.0 + step / 1000,
            "seconds": 0.36 * step,
        }
        for step in range(every, steps + 1, every)
    ]
    validation = [
        {"step": step, "box_ap": 66 * (1 - float(np.exp(-step / 500)))} | ({"mask_ap": 0.03 * step} if masks else {})
        for step in range(500, steps + 1, 500)
    ]
    return {"train": train, "validation": validation}


def prepare_report(*, num_train: int = 24, num_val: int = 6) -> PrepareReport:
    sizes = {"train": num_train, "val": num_val, "test": 0}
    splits = {
        split: SplitSummary(
            num_images=size, num_objects=2 * size, objects_per_class={"circle": 2 * size}, sha256=hash_value(split)
        )
        for split, size in sizes.items()
    }
    counts = {f"{kind}_{fate}": 0 for kind in ("images", "objects") for fate in ("repaired", "rejected")}
    found = {f"{kind}_{fate}": num_train + num_val for kind in ("images", "objects") for fate in ("found", "kept")}
    return PrepareReport(source="synthetic", **counts, **found, reasons={}, fates=(), splits=splits, sha256=SHA)


def write_split(folder: Path, *, num_images: int = 6, seed: int = 0) -> dict[int, list[dict[str, Any]]]:
    """A prepared split: pictures with circles, squares and triangles and their COCO JSON. Gives objects by image id."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id in range(1, num_images + 1):
        height, width = 128, 160
        canvas = Image.fromarray(rng.integers(60, 140, (height, width, 3), dtype=np.uint8))
        draw = ImageDraw.Draw(canvas)
        images.append({"id": image_id, "file_name": f"{image_id:06d}.png", "height": height, "width": width})
        for _ in range(int(rng.integers(1, 4))):
            side = int(rng.integers(24, 56))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            category = int(rng.integers(1, 4))
            polygon = outline(category, x, y, side)
            draw.polygon(polygon, fill=tuple(int(value) for value in rng.integers(90, 255, 3)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                    "segmentation": [[value for point in polygon for value in point]],
                }
            )
        canvas.save(folder / "images" / f"{image_id:06d}.png")
    categories = [{"id": int(key), "name": name} for key, name in LABELS.items()]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(tree))
    return {image["id"]: [a for a in annotations if a["image_id"] == image["id"]] for image in images}


def outline(category: int, x: int, y: int, side: int) -> list[tuple[float, float]]:
    """Corners of a circle (1), square (2) or triangle (3) in a square box."""
    if category == 1:
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        return [(x + side / 2 * (1 + float(np.cos(a))), y + side / 2 * (1 + float(np.sin(a)))) for a in angles]
    if category == 2:
        return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    return [(x + side / 2, y), (x + side, y + side), (x, y + side)]


def model_outputs(
    objects: dict[int, list[dict[str, Any]]], *, masks: bool, noise: float, seed: int = 1, max_detections: int = 100
) -> StoredOutputs:
    """What a good model would give for these objects on a 128x128 input (pictures of 160x128, scaled by 0.8)."""
    rng = np.random.default_rng(seed)
    num, rows = len(objects), max_detections
    outputs = {
        "detection_boxes": np.zeros((num, rows, 4), np.float32),
        "detection_classes": np.zeros((num, rows), np.float32),
        "detection_scores": np.zeros((num, rows), np.float32),
        "num_detections": np.zeros((num,), np.float32),
    }
    if masks:
        outputs["detection_masks"] = np.zeros((num, rows, 28, 28), np.float32)
    for index, entries in enumerate(objects.values()):
        outputs["num_detections"][index] = len(entries)
        for row, entry in enumerate(entries):
            x, y, width, height = entry["bbox"]
            box = np.asarray([y, x, y + height, x + width], np.float32) * 0.8 / 128
            outputs["detection_boxes"][index, row] = box + rng.normal(0, noise, 4)
            outputs["detection_classes"][index, row] = entry["category_id"] - 1
            outputs["detection_scores"][index, row] = 0.95 - 0.1 * row - abs(rng.normal(0, noise))
            if masks:
                stencil = Image.new("L", (28, 28))
                ImageDraw.Draw(stencil).polygon(outline(entry["category_id"], 0, 0, 28), fill=1)
                outputs["detection_masks"][index, row] = np.asarray(stencil)
    return StoredOutputs(
        split="val",
        image_ids=np.asarray(sorted(objects), np.int64),
        outputs=outputs,
        raw_image_ids=np.zeros(0, np.int64),
        raw_outputs={},
    )


def write_cell(
    layout: Layout,
    model: str,
    scheme: str,
    *,
    conversion_changes: dict[str, Any] | None = None,
    validation_changes: dict[str, Any] | None = None,
    benchmark_changes: dict[str, Any] | None = None,
) -> None:
    """The records of one model in one scheme, and a file (or two) that stands for the model."""
    folder = layout.converted(model, scheme)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in MODEL_FILES[SCHEMES[scheme].backend]]
    for file in files:
        file.write_bytes(f"{model} {scheme} {file.suffix}".encode() * 100)
    sha256 = hash_files(files)
    write_json(conversion(model, scheme, **({"sha256": sha256} | (conversion_changes or {}))), folder / "result.json")
    write_json(proof(scheme), folder / "proof.json")
    write_interface(interface(model, scheme), folder)
    judged = {"artifact_sha256": sha256} | (validation_changes or {})
    write_json(validation(model, scheme, **judged), layout.validated(model, scheme))
    timed = {"artifact_sha256": sha256} | (benchmark_changes or {})
    write_json(benchmark(model, scheme, **timed), layout.benchmarked(model, scheme))


def write_absent_cell(layout: Layout, model: str, scheme: str, *, reason: str = NO_OTHER_FORM) -> None:
    """The records of a cell that the scheme does not apply to: no file, and nothing measured."""
    folder = layout.converted(model, scheme)
    absent: dict[str, Any] = {"status": Status.NOT_APPLICABLE, "reason": reason}
    no_file: dict[str, Any] = {"artifact": None, "companions": (), "sha256": None, "size_bytes": None}
    no_numbers: dict[str, Any] = {"artifact_sha256": None, "accuracy": None, "reference": None, "box_ap_drop": None}
    no_numbers |= {"mask_ap_drop": None, "parity": (), "agreement": None, "protocol": None}
    no_costs: dict[str, Any] = {"artifact_sha256": None, "latency": None, "init_ms": None, "peak_rss_bytes": None}
    no_costs |= {"baseline_rss_bytes": None, "size_bytes": None, "gzip_bytes": None, "runtime": "", "delegate": ""}
    write_json(conversion(model, scheme, **absent, **no_file), folder / "result.json")
    write_interface(interface(model, scheme), folder)
    write_json(validation(model, scheme, **absent, **no_numbers), layout.validated(model, scheme))
    write_json(benchmark(model, scheme, **absent, **no_costs), layout.benchmarked(model, scheme))


def applies(model: str, scheme: str) -> bool:
    """Whether the row applies to the model: only one-stage detectors can end in the post-processing op."""
    return SCHEMES[scheme].form is Form.BUILTIN or not DETECTORS[model].has_masks


def write_project(
    root: Path,
    models: tuple[str, ...] = ("retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet"),
    schemes: tuple[str, ...] = tuple(SCHEMES),
    *,
    params: dict[str, Any] | None = None,
    num_images: int = 6,
) -> Layout:
    """params.yaml, a prepared val split and every record up to `benchmark`, as if the pipeline had run."""
    layout = Layout(root)
    tree = {"models": list(models), "schemes": list(schemes), **(params or {})}
    root.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(tree))
    objects = write_split(layout.split("val"), num_images=num_images)
    write_json(LABELS, layout.labels)
    write_json(prepare_report(num_val=num_images), layout.prepare_report)
    for model in models:
        masks = DETECTORS[model].has_masks
        trained, exported = layout.variant(model, "trained"), layout.exported(model, "trained")
        write_json(train_result(model), trained / "result.json")
        write_json(history(masks=masks), trained / "history.json")
        write_interface(interface(model, "float32"), exported)
        save_outputs(model_outputs(objects, masks=masks, noise=0.002), layout.reference(model))
        for scheme in schemes:
            if not applies(model, scheme):
                write_absent_cell(layout, model, scheme)
                save_outputs(model_outputs({}, masks=masks, noise=0.0), layout.validated_outputs(model, scheme))
                continue
            write_cell(layout, model, scheme)
            noise = 0.002 + DROPS[scheme] * 0.02
            save_outputs(
                model_outputs(objects, masks=masks, noise=noise, seed=2), layout.validated_outputs(model, scheme)
            )
    return layout


def write_dvc_lock(layout: Layout, *, state: str = "one") -> None:
    """A dvc.lock of some state."""
    layout.dvc_lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"prepare": {"cmd": hash_value(state)}}}))
