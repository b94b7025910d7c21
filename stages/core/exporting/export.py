"""A trained folder to a deployment folder: SavedModel, float32 .tflite and interface."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from stages.core.base.errors import DataError
from stages.core.base.folders import replaced_folder
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE, SAVED_MODEL
from stages.core.base.native_output import silence_native
from stages.core.datasets.prepared import check_labels
from stages.core.exporting.graph import (
    INPUT_NAME,
    DeploymentGraph,
    PostProcessingSettings,
    padding_color,
)
from stages.core.exporting.load import load_trained
from stages.core.exporting.maskrcnn import build_maskrcnn_graph
from stages.core.exporting.retinanet import build_retinanet_graph
from stages.core.exporting.ssdlite import build_ssdlite_graph
from stages.core.exporting.tflite import save_functions, write_tflites
from stages.core.results.interface import ImageInput, Interface, PostProcessing, write_interface
from stages.core.results.training import TrainResult
from stages.core.tables.detectors import DETECTORS, Family

GRAPHS: dict[Family, Callable[[Any, Any, PostProcessingSettings], DeploymentGraph]] = {
    Family.RETINANET: build_retinanet_graph,
    Family.SSDLITE: build_ssdlite_graph,
    Family.MASKRCNN: build_maskrcnn_graph,
}
RESIZES: dict[str, Literal["fit_pad", "stretch"]] = {"letterbox": "fit_pad", "stretch": "stretch"}
"""`resize` of the training or of `export` to that of the interface."""


def export_model(
    trained: Path,
    *,
    labels: Mapping[int, str],
    settings: PostProcessingSettings,
    out_dir: Path,
) -> Interface:
    """Exports a trained folder.

    The folder appears as a whole or not at all.

    Args:
      trained: `models/<variant>/<model>`.
      labels: Category id (from 1) to name.
      settings: Post-processing inside the graph.
      out_dir: Folder to write; replaced.

    Raises:
      MissingResultError, ArtifactError, CheckpointError: if the trained folder is missing or damaged.
      DataError: if the labels are not those that the model was trained on.
    """
    path = trained / RESULT_FILE
    result = read_json(TrainResult, path)
    if result.num_classes != len(labels):
        raise DataError(
            f"{path}: trained on {result.num_classes} classes, labels.json has {len(labels)}; run `train` again"
        )
    check_labels(result.labels, {str(key): name for key, name in labels.items()}, path)
    with replaced_folder(out_dir) as partial:
        with silence_native():
            config, graph = build_graph(trained, settings)
            save_functions(graph.signatures, partial / SAVED_MODEL)
            write_tflites(graph, partial)
        interface = describe_graph(graph, result, labels, settings, config.task)
        write_interface(interface, partial)
    return interface


def build_graph(trained: Path, settings: PostProcessingSettings) -> tuple[Any, DeploymentGraph]:
    """The configuration of a trained folder, and its deployment graph."""
    config, model = load_trained(trained)
    family = DETECTORS[read_json(TrainResult, trained / RESULT_FILE).model].family
    return config, GRAPHS[family](config.task.model, model, settings)


def describe_graph(
    graph: DeploymentGraph,
    result: TrainResult,
    labels: Mapping[int, str],
    settings: PostProcessingSettings,
    task_config: Any,
) -> Interface:
    """The contract of a deployment graph. `task_config` is `task` of the experiment."""
    pixels = task_config.model.pixels
    mean, deviation = (", ".join(f"{value:.3f}" for value in values) for values in (pixels.mean, pixels.deviation))
    return Interface(
        model=result.model,
        task=DETECTORS[result.model].task.value,
        variant=result.variant,
        input=ImageInput(
            name=INPUT_NAME,
            shape=(1, *result.input_size, 3),
            dtype="float32",
            resize=RESIZES[task_config.resize if settings.resize == "as_trained" else settings.resize],
            pad_value=padding_color(pixels),
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
        trained_data_sha256=result.data_sha256,
    )
