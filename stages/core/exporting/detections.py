"""A brought graph that ends in detections, made static for one image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.exporting.class_map import ClassMap, match_labels
from stages.core.exporting.finished_readers import NAMES
from stages.core.exporting.frozen_graph import cut_graph, evaluate, feed_image, fold_constants
from stages.core.exporting.frozen_heads import normalize_brought
from stages.core.exporting.graph import DeploymentGraph, image_spec
from stages.core.exporting.source import BroughtSource
from stages.core.results.interface import TensorOutput

FLAT = {"boxes": (1, -1, 4), "scores": (1, -1), "classes": (1, -1), "num_detections": (1,)}
"""Key in params.yaml to the shape that it is reshaped to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Detected:
    """A cut graph that gives detections.

    Attributes:
      graph: GraphDef from the image to the four outputs, constants computed.
      rows: N of boxes [1, N, 4].
      classes: Which class is which category.
    """

    graph: Any
    rows: int
    classes: ClassMap


def read_detections(graph: Any, source: BroughtSource) -> Detected:
    """Cuts a graph between image and detections, and checks what it gives for a black image.

    Raises:
      ArtifactError: if it cannot be computed, or does not give one image's detections.
      DataError: if it has no class of the data.
    """
    model, path = source.model, source.path
    shape, names = (1, *model.input.size, 3), [model.outputs[key] for key in FLAT]
    cut = cut_graph(graph, model.input.name, names, shape, path)
    try:
        folded = fold_constants(cut, model.input.name, names, shape)
        found = dict(zip(FLAT, evaluate(folded, model.input.name, names, shape), strict=True))
    except (tf.errors.OpError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path}: cannot be computed from an image {shape} at input.name: {text}") from None
    shapes = {key: np.shape(value) for key, value in found.items()}
    rows = shapes["boxes"][-2] if len(shapes["boxes"]) > 1 else 0
    sizes = {"boxes": 4 * rows, "scores": rows, "classes": rows, "num_detections": 1}
    if not rows or {key: int(np.prod(shape)) for key, shape in shapes.items()} != sizes:
        raise ArtifactError(
            f"{path}: outputs {shapes} are not one image's detections: expected boxes [1, N, 4], scores and classes "
            "[1, N], num_detections [1]"
        )
    labels = source.model_labels
    where = f"brought.{source.name}"
    return Detected(
        graph=folded,
        rows=rows,
        classes=match_labels(labels, source.labels, num_classes=max(labels, default=0), where=where),
    )


def assemble_detections(source: BroughtSource, found: Detected) -> DeploymentGraph:
    """The deployment graph: normalisation, then the cut graph; outputs as float32 under the names of ours."""
    model = source.model

    def detect(image: Any) -> dict[str, Any]:
        names = [model.outputs[key] for key in FLAT]
        tensors = feed_image(found.graph, model.input.name, names, normalize_brought(image, model))
        shapes = {key: [found.rows if side < 0 else side for side in shape] for key, shape in FLAT.items()}
        return {
            NAMES[key]: tf.reshape(tf.cast(tensor, tf.float32), shapes[key])
            for key, tensor in zip(FLAT, tensors, strict=True)
        }

    return DeploymentGraph(
        detect=tf.function(detect, autograph=False).get_concrete_function(image_spec(model.input.size)),
        outputs=tuple(
            TensorOutput(
                name=NAMES[key],
                shape=tuple(found.rows if side < 0 else side for side in shape),
                dtype="float32",
                meaning=f"{model.outputs[key]} of the brought graph",
            )
            for key, shape in FLAT.items()
        ),
        class_offset=1,
        method="the brought graph's own",
    )
