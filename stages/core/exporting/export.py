"""A trained folder to a deployment folder: SavedModel, float32 .tflite, interface and reference outputs."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from stages.core.datasets.prepared import PreparedImage, PreparedSplit, load_image
from stages.core.detectors.build import load_trained
from stages.core.detectors.table import DETECTORS, Family
from stages.core.errors import DataError
from stages.core.exporting.graph import (
    INPUT_NAME,
    MEAN_RGB,
    STDDEV_RGB,
    DeploymentGraph,
    PostProcessingSettings,
    padding_color,
)
from stages.core.exporting.maskrcnn import build_maskrcnn_graph
from stages.core.exporting.retinanet import build_retinanet_graph
from stages.core.exporting.tflite import convert_functions, save_functions
from stages.core.interface import SIGNATURE, ImageInput, Interface, PostProcessing, write_interface
from stages.core.jsonfile import read_json
from stages.core.layout import SAVED_MODEL, TFLITE_FILES
from stages.core.reference import Reference, save_reference, to_stored
from stages.core.results.training import TrainResult
from stages.core.running.decode import drop_unused_rows
from stages.core.running.preprocess import preprocess_image
from stages.core.schemes import Form
from stages.core.silence import silence_native
from stages.core.subset import choose_subset

GRAPHS: dict[Family, Callable[[Any, Any, PostProcessingSettings], DeploymentGraph]] = {
    Family.RETINANET: build_retinanet_graph,
    Family.MASKRCNN: build_maskrcnn_graph,
}
RAW_IMAGES = 16
"""How many images of the fixed draw keep their raw outputs: enough to measure parity on, few enough to store."""


def export_model(
    trained: Path,
    *,
    labels: Mapping[int, str],
    split: PreparedSplit | None,
    settings: PostProcessingSettings,
    out_dir: Path,
) -> Interface:
    """Exports a trained folder.

    The folder appears as a whole or not at all.

    Args:
      trained: `models/trained/<model>`.
      labels: Category id (from 1) to name.
      split: Images that the reference outputs are computed on; None: no reference outputs.
      settings: Post-processing inside the graph.
      out_dir: Folder to write; replaced.

    Raises:
      MissingResultError, ArtifactError, CheckpointError: if the trained folder is missing or damaged.
      DataError: if the labels are not those that the model was trained on.
    """
    result = read_json(TrainResult, trained / "result.json")
    if result.num_classes != len(labels):
        raise DataError(
            f"{trained / 'result.json'}: trained on {result.num_classes} classes, labels.json has {len(labels)}; "
            "run `train` again"
        )
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with silence_native():
            graph = build_graph(trained, DETECTORS[result.model].family, settings)
            save_functions(graph.signatures, partial / SAVED_MODEL)
            write_tflites(graph, partial)
        interface = describe_graph(graph, result, labels, settings)
        write_interface(interface, partial)
        if split is not None:
            save_reference(compute_reference(graph, split, interface.input), partial / "reference.npz")
        shutil.rmtree(out_dir, ignore_errors=True)
        partial.replace(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return interface


def write_tflites(graph: DeploymentGraph, folder: Path) -> None:
    """The float32 files that the TFLite schemes start from: one, or one for each form of the post-processing."""
    forms = {Form.BUILTIN: graph.detect}
    if graph.with_op is not None:
        forms[Form.POSTPROCESS_OP] = graph.with_op
    for form, function in forms.items():
        (folder / TFLITE_FILES[form]).write_bytes(convert_functions({SIGNATURE: function}))


def build_graph(trained: Path, family: Family, settings: PostProcessingSettings) -> DeploymentGraph:
    """The deployment graph of a trained folder."""
    config, model = load_trained(trained)
    return GRAPHS[family](config.task.model, model, settings)


def describe_graph(
    graph: DeploymentGraph, result: TrainResult, labels: Mapping[int, str], settings: PostProcessingSettings
) -> Interface:
    """The contract of a deployment graph."""
    mean, deviation = (", ".join(f"{value:.3f}" for value in values) for values in (MEAN_RGB, STDDEV_RGB))
    return Interface(
        model=result.model,
        task=DETECTORS[result.model].task.value,
        variant=result.variant,
        input=ImageInput(
            name=INPUT_NAME,
            shape=(1, *result.input_size, 3),
            dtype="float32",
            pad_value=padding_color(),
            normalization=f"inside the graph: (pixel - [{mean}]) / [{deviation}]",
        ),
        outputs=graph.outputs,
        raw_outputs=graph.raw_outputs,
        class_offset=graph.class_offset,
        labels={str(key): name for key, name in labels.items()},
        post_processing=PostProcessing(
            method=graph.method,
            max_detections=settings.max_detections,
            score_threshold=settings.score_threshold,
            nms_iou_threshold=settings.nms_iou_threshold,
        ),
        checkpoint_sha256=result.checkpoint_sha256,
    )


def compute_reference(graph: DeploymentGraph, split: PreparedSplit, spec: ImageInput) -> Reference:
    """The float model's outputs on every image of the split, under the graph's own post-processing.

    Masks are kept as float16, as they are stored: a split's worth of float32 ones would fill the memory.
    """
    outputs: dict[str, list[np.ndarray]] = {output.name: [] for output in graph.outputs}
    raw_outputs: dict[str, list[np.ndarray]] = {output.name: [] for output in graph.raw_outputs}
    bar = track(split.images, f"reference outputs on {split.name}", console=Console(stderr=True), transient=True)
    # The beginning of the draw that a slow file is judged on: its raw outputs can be compared too.
    raw_ids = sorted(choose_subset(split.by_id, RAW_IMAGES)) if raw_outputs else []
    for image in bar:
        found, raw = graph.run_reference(_load_tensor(image, spec))
        found = drop_unused_rows(found)
        for name, kept in outputs.items():
            kept.append(to_stored(name, found[name]))
        if image.image_id in raw_ids:
            for name, kept in raw_outputs.items():
                kept.append(raw[name][0])
    return Reference(
        split=split.name,
        image_ids=np.asarray([image.image_id for image in split.images], np.int64),
        outputs={name: np.stack(kept) for name, kept in outputs.items()},
        raw_image_ids=np.asarray(raw_ids, np.int64),
        raw_outputs={name: np.stack(kept) for name, kept in raw_outputs.items()},
    )


def _load_tensor(image: PreparedImage, spec: ImageInput) -> np.ndarray:
    tensor, _ = preprocess_image(load_image(image.path), spec)
    return tensor
