"""The raw heads of a brought frozen graph, and the deployment graph that they become."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError, UserError
from stages.core.base.native_output import silence_native
from stages.core.exporting.class_map import ClassMap, match_labels
from stages.core.exporting.frozen_graph import (
    check_nodes,
    count_fake_quant,
    cut_graph,
    evaluate,
    fold_constants,
    read_frozen_graph,
)
from stages.core.exporting.graph import DeploymentGraph, PostProcessingSettings, image_spec
from stages.core.exporting.retinanet import RAW_BOXES, RAW_SCORES, assemble_graph
from stages.core.exporting.source import BroughtSource
from stages.core.params.brought import BroughtModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """What was found in a frozen graph.

    Attributes:
      cut: GraphDef from the image to the heads, as in the file; folded: with constants computed.
      anchors: float32 [A, 4], [y_min, x_min, y_max, x_max] in pixels of the input.
      num_classes: Without the background; classes: which of them is which category.
      num_fake_quant: How many nodes simulate rounding.
    """

    cut: Any
    folded: Any
    anchors: np.ndarray
    num_classes: int
    classes: ClassMap
    num_fake_quant: int


def read_quietly(source: BroughtSource) -> Heads:
    """`read_heads` without what TensorFlow says meanwhile, also where it fails: a mistake is one line."""
    mistake = None
    with silence_native():
        try:
            heads = read_heads(source)
        except UserError as error:
            mistake = error
    if mistake is not None:
        raise mistake
    return heads


def read_heads(source: BroughtSource) -> Heads:
    """Reads, cuts and checks a frozen graph.

    Raises:
      ArtifactError: if tensors are missing, or are not a detector's.
    """
    model, path = source.model, source.path
    graph = read_frozen_graph(path)
    check_nodes(graph, {"input.name": model.input.name, **{f"outputs.{k}": v for k, v in model.outputs.items()}}, path)
    shape = (1, *model.input.size, 3)
    names = [model.outputs[key] for key in ("boxes", "scores")]
    entry = model.input.name
    cut = cut_graph(graph, entry, names, shape, path)
    folded = fold_constants(cut, entry, shape)
    try:
        boxes, scores = evaluate(folded, entry, names, shape)
    except (tf.errors.OpError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path}: cannot be computed from input.name {entry!r} of {shape}: {text}") from None
    anchors = read_anchors(graph, source)
    check_heads(boxes, scores, anchors, source)
    return Heads(
        cut=cut,
        folded=folded,
        anchors=anchors,
        num_classes=scores.shape[2] - model.background,
        classes=match_labels(
            source.model_labels,
            source.labels,
            num_classes=scores.shape[2] - model.background,
            where=f"brought.{source.name}",
        ),
        num_fake_quant=count_fake_quant(cut),
    )


def read_anchors(graph: Any, source: BroughtSource) -> np.ndarray:
    """Anchors as the graph computes them for this input size: float32 [A, 4], corners in pixels.

    Raises:
      ArtifactError: if they are not [A, 4].
    """
    model = source.model
    name, shape = model.outputs["anchors"], (1, *model.input.size, 3)
    node = next((node for node in graph.node if node.name == name.partition(":")[0]), None)
    if node is not None and node.op == "Const":
        found = tf.make_ndarray(node.attr["value"].tensor)
    else:
        cut = cut_graph(graph, model.input.name, [name], shape, source.path, needs_image=False)
        (found,) = evaluate(cut, model.input.name, [name], shape)
    values = np.asarray(found, np.float32)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or values.shape[1] != 4:
        raise ArtifactError(f"{source.path}: outputs.anchors {name!r} has shape {found.shape}, expected [A, 4]")
    if model.anchor_format == "centers":
        values = np.concatenate([values[:, :2] - values[:, 2:] / 2, values[:, :2] + values[:, 2:] / 2], axis=1)
    return (values * np.asarray([*model.input.size] * 2, np.float32)).astype(np.float32)


def check_heads(boxes: np.ndarray, scores: np.ndarray, anchors: np.ndarray, source: BroughtSource) -> None:
    """Raises ArtifactError unless shapes and values of the heads are those of a one-stage detector."""
    found = f"boxes {boxes.shape}, scores {scores.shape}, anchors {anchors.shape}"
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[:2] != scores.shape[:2] or boxes.shape[::2] != (1, 4):
        raise ArtifactError(
            f"{source.path}: outputs are no detector's raw heads: {found}; expected [1, A, 4], [1, A, C], [A, 4]"
        )
    if len(anchors) != boxes.shape[1]:
        raise ArtifactError(f"{source.path}: {found}: expected one anchor per box; is input.size right?")
    if not (scores.min() >= 0 and scores.max() <= 1):
        raise ArtifactError(
            f"{source.path}: scores reach from {scores.min():.3g} to {scores.max():.3g}, expected probabilities 0..1: "
            "name the tensor behind the sigmoid or softmax (Postprocessor/convert_scores)"
        )


def assemble_brought(source: BroughtSource, heads: Heads, *, round_pixels: bool = False) -> DeploymentGraph:
    """The deployment graph: normalisation, the cut graph, then the pipeline's own suppression in both forms.

    Args:
      round_pixels: Whether the normalised pixels get the range that their statistics give: quantization-aware training
        in TensorFlow 1 leaves it to `quantized_input_stats`.
    """
    spec, model = image_spec(source.model.input.size), source.model
    names = [model.outputs[key] for key in ("boxes", "scores")]

    def run_heads(image: Any) -> dict[str, Any]:
        pixels = normalize_brought(image, model)
        if round_pixels:
            low, high = pixel_range(model)
            pixels = tf.quantization.fake_quant_with_min_max_args(pixels, low, high)
        tensors = tf.graph_util.import_graph_def(
            heads.folded,
            input_map={f"{model.input.name.partition(':')[0]}:0": pixels},
            return_elements=[name if ":" in name else f"{name}:0" for name in names],
            name="",
        )
        scores = tensors[1] if model.background else tf.pad(tensors[1], [[0, 0], [0, 0], [1, 0]])
        return {RAW_BOXES: tensors[0], RAW_SCORES: scores}

    return assemble_graph(
        tf.function(run_heads, autograph=False).get_concrete_function(spec),
        anchors=heads.anchors,
        box_weights=model.box_scales,
        num_classes=heads.num_classes + 1,
        input_size=model.input.size,
        most=source.settings.pre_nms_top_k,
        settings=PostProcessingSettings(**source.settings.model_dump()),
    )


def normalize_brought(image: Any, model: BroughtModel) -> Any:
    """(pixel - mean) / deviation, channels in the model's order."""
    with tf.name_scope("normalize"):
        if model.input.color_order == "BGR":
            image = tf.reverse(image, axis=[3])
        scale = [1.0 / deviation for deviation in model.input.deviations]
        return (image - tf.constant(model.input.means)) * tf.constant(scale)


def pixel_range(model: BroughtModel) -> tuple[float, float]:
    """Smallest and largest value that a pixel can have after normalisation, zero between."""
    pairs = list(zip(model.input.means, model.input.deviations, strict=True))
    low, high = (pick((edge - mean) / deviation for mean, deviation in pairs) for pick, edge in ((min, 0), (max, 255)))
    return min(low, 0.0), max(high, 0.0)
