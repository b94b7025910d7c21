"""Parts of a brought model's contract that do not depend on what its file is."""

from pathlib import Path

from stages.core.base.hashing import hash_files
from stages.core.exporting.class_map import ClassMap
from stages.core.exporting.graph import INPUT_NAME, DeploymentGraph
from stages.core.exporting.source import BroughtSource
from stages.core.params.brought import BroughtModel
from stages.core.results.interface import ImageInput, Interface, PostProcessing
from stages.core.results.kinds import Variant
from stages.core.tables.detectors import Task


def padding_of(model: BroughtModel) -> tuple[int, int, int]:
    """RGB of padding that is about zero after normalisation."""
    means = model.input.means if model.input.color_order == "RGB" else model.input.means[::-1]
    red, green, blue = (min(max(round(value), 0), 255) for value in means)
    return red, green, blue


def describe_classes(classes: ClassMap) -> tuple[str, ...]:
    """What of the model's and the data's classes does not meet."""
    told = []
    if classes.unknown:
        told.append(f"classes of the data that the model does not have, never found: {', '.join(classes.unknown)}")
    if classes.unused:
        told.append(f"{classes.unused} classes of the model are none of the data's; what is found of them is dropped")
    return tuple(told)


def hash_source(path: Path) -> str:
    """sha256 of a brought file, or of the names and hashes of a folder's files."""
    return hash_files([path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file()))


def describe_brought(
    source: BroughtSource,
    graph: DeploymentGraph,
    classes: ClassMap,
    variant: Variant,
    *,
    task: Task = Task.DETECTION,
    post_processing: PostProcessing | None = None,
) -> Interface:
    """The contract of a brought model's deployment graph.

    Args:
      post_processing: Of a model that keeps its own; None: what `export` says.
    """
    spec, settings = source.model.input, source.settings
    mean, deviation = (", ".join(f"{value:g}" for value in values) for values in (spec.means, spec.deviations))
    flipped = " of BGR" if spec.color_order == "BGR" else ""
    return Interface(
        model=source.name,
        task=task.value,
        variant=variant,
        input=ImageInput(
            name=INPUT_NAME,
            shape=(1, *spec.size, 3),
            dtype="float32",
            resize="fit_pad" if spec.resize == "letterbox" else "stretch",
            pad_value=padding_of(source.model),
            normalization=f"inside the graph: (pixel - [{mean}]) / [{deviation}]{flipped}",
        ),
        outputs=graph.outputs,
        raw_outputs=graph.raw_outputs,
        class_offset=graph.class_offset,
        class_map=() if classes.is_identity else classes.category_ids,
        labels={str(key): name for key, name in source.labels.items()},
        post_processing=post_processing
        or PostProcessing(
            method=graph.method,
            max_detections=settings.max_detections,
            score_threshold=settings.score_threshold,
            nms_iou_threshold=settings.nms_iou_threshold,
        ),
        checkpoint_sha256=hash_source(source.path),
    )
