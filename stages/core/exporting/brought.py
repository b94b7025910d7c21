"""Somebody else's finished model to a deployment folder of the shape that `export` writes for our own."""

from collections.abc import Callable, Mapping
from pathlib import Path

from stages.core.exporting.class_map import read_model_labels
from stages.core.exporting.source import BroughtSource
from stages.core.params.brought import BroughtKind, BroughtLayout, BroughtModel
from stages.core.params.steps import ExportParams
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed

NO_PRUNING = "the model was brought as it is: nothing is trained, so nothing is pruned"

Exporter = Callable[[BroughtSource, Variant, Path], tuple[str, ...]]
"""(file, variant, folder to write) to what the user should know, one sentence each."""


def _load_graph() -> Exporter:
    from stages.core.exporting.graph_export import export_graph

    return export_graph


def _load_finished_file() -> Exporter:
    from stages.core.exporting.finished_file import export_finished_file

    return export_finished_file


def _load_saved_model() -> Exporter:
    from stages.core.exporting.rewritten_export import export_saved_model

    return export_saved_model


def _load_keras_weights() -> Exporter:
    from stages.core.exporting.rewritten_export import export_keras_weights

    return export_keras_weights


EXPORTERS: dict[tuple[BroughtKind, BroughtLayout], Callable[[], Exporter]] = {
    (BroughtKind.FROZEN_GRAPH, BroughtLayout.RAW_HEADS): _load_graph,
    (BroughtKind.SAVED_MODEL, BroughtLayout.RAW_HEADS): _load_graph,
    (BroughtKind.SAVED_MODEL, BroughtLayout.DETECTIONS): _load_saved_model,
    (BroughtKind.SAVED_MODEL, BroughtLayout.MODEL_GARDEN): _load_saved_model,
    (BroughtKind.SAVED_MODEL, BroughtLayout.MATTERPORT): _load_saved_model,
    (BroughtKind.KERAS_WEIGHTS, BroughtLayout.DETECTIONS): _load_keras_weights,
    (BroughtKind.KERAS_WEIGHTS, BroughtLayout.MODEL_GARDEN): _load_keras_weights,
    (BroughtKind.KERAS_WEIGHTS, BroughtLayout.MATTERPORT): _load_keras_weights,
    (BroughtKind.TFLITE, BroughtLayout.DETECTIONS): _load_finished_file,
    (BroughtKind.TFLITE, BroughtLayout.MODEL_GARDEN): _load_finished_file,
    (BroughtKind.OPENVINO, BroughtLayout.DETECTIONS): _load_finished_file,
    (BroughtKind.OPENVINO, BroughtLayout.MODEL_GARDEN): _load_finished_file,
}
"""THE TABLE of what exports each kind of brought file with each layout; a row is imported only where it is used."""


def export_brought(
    name: str,
    model: BroughtModel,
    *,
    root: Path,
    variant: Variant,
    labels: Mapping[int, str],
    settings: ExportParams,
    out_dir: Path,
) -> tuple[str, ...]:
    """Exports one variant of a brought model; the folder appears as a whole or not at all.

    Args:
      name: Of the row; model: its section of params.yaml.
      root: The project's root.
      variant: Which folder; those that the model has no weights for say why.
      labels: Category id from 1 to name, of the prepared data.
      settings: Post-processing.
      out_dir: Folder to write; replaced.

    Returns:
      What the user should know, one sentence each.

    Raises:
      MissingResultError: if the file is missing.
      ArtifactError, ForeignConfigError: if it is not such a model, or its labels are wrong.
      DataError: if it has no class of the data.
    """
    if variant in (Variant.PRUNED, Variant.PRUNED_QAT):
        write_not_needed(out_dir, name, variant, reason=NO_PRUNING)
        return (f"not exported: {NO_PRUNING}",)
    source = BroughtSource(
        name=name,
        model=model,
        path=root / model.path,
        labels=labels,
        model_labels=read_model_labels(model.labels, root, model=root / model.path),
        settings=settings,
        root=root,
    )
    return EXPORTERS[model.kind, model.layout]()(source, variant, out_dir)
