"""The outputs of a brought model as the outputs that every detector of this pipeline has: a row for each layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.exporting.finished_readers import NAMES
from stages.core.exporting.foreign_masks import check_brought_masks, mask_frame_of
from stages.core.exporting.matterport import check_matterport, matterport_outputs, name_matterport
from stages.core.exporting.source import BroughtSource
from stages.core.params.brought import BroughtLayout
from stages.core.results.interface import TensorOutput
from stages.core.tables.detectors import Task

FLAT = {"boxes": (1, -1, 4), "scores": (1, -1), "classes": (1, -1), "num_detections": (1,)}
"""Key in params.yaml to the shape that it is reshaped to."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadOutputs:
    """What a model's outputs are.

    Attributes:
      rename: The model's tensors, by key in params.yaml, to ours.
      outputs: The contract of ours.
      num_classes: Without the background; None where the shapes do not say.
      first_class: What the classes hold for the first of the model's labels.
      mask_frame: What masks span.
    """

    rename: Callable[[Mapping[str, Any]], dict[str, Any]]
    outputs: tuple[TensorOutput, ...]
    num_classes: int | None = None
    first_class: int = 0
    mask_frame: Literal["box", "image"] = "box"

    @property
    def task(self) -> Task:
        """What is found."""
        has_masks = any(output.name == "detection_masks" for output in self.outputs)
        return Task.SEGMENTATION if has_masks else Task.DETECTION


def read_matterport(shapes: Shapes, source: BroughtSource) -> ReadOutputs:
    """Of a Keras Mask R-CNN.

    Raises:
      ArtifactError: if these are no such outputs.
    """
    side, channels = check_matterport(shapes["detections"], shapes["masks"], str(source.path))
    return ReadOutputs(
        rename=lambda found: name_matterport(found, "detections", "masks", source.model.input.size),
        outputs=matterport_outputs(shapes["detections"][1], side),
        num_classes=channels - 1,
    )


def read_final(shapes: Shapes, source: BroughtSource) -> ReadOutputs:
    """Of what suppression has left, with or without masks.

    Raises:
      ArtifactError: if these are not one image's detections.
    """
    rows = shapes["boxes"][-2] if len(shapes["boxes"]) > 1 else 0
    sizes = {"boxes": 4 * rows, "scores": rows, "classes": rows, "num_detections": 1}
    if not rows or any(int(np.prod(shapes[key])) != size for key, size in sizes.items()):
        raise ArtifactError(
            f"{source.path}: outputs {dict(shapes)} are not one image's detections: expected boxes [1, N, 4], scores "
            "and classes [1, N], num_detections [1]"
        )
    wanted = {key: tuple(rows if side < 0 else side for side in shape) for key, shape in FLAT.items()}
    masks = check_brought_masks(shapes, rows, source.model, source.path)
    if masks:
        wanted[masks] = shapes[masks]

    def rename(found: Mapping[str, Any]) -> dict[str, Any]:
        return {NAMES[key]: tf.reshape(tf.cast(found[key], tf.float32), shape) for key, shape in wanted.items()}

    return ReadOutputs(
        rename=rename,
        outputs=tuple(
            TensorOutput(
                name=NAMES[key],
                shape=shape,
                dtype="float32",
                meaning=f"{source.model.outputs[key]} of the brought graph",
            )
            for key, shape in wanted.items()
        ),
        first_class=source.model.first_class,
        mask_frame=mask_frame_of(masks),
    )


READERS_OF_OUTPUTS: dict[BroughtLayout, Callable[[Shapes, BroughtSource], ReadOutputs]] = {
    BroughtLayout.DETECTIONS: read_final,
    BroughtLayout.MODEL_GARDEN: read_final,
    BroughtLayout.MATTERPORT: read_matterport,
}
"""Layout of a graph's outputs to what reads them. Raw heads get the pipeline's own suppression instead."""
