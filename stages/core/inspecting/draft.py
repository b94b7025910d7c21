"""The entry below `brought` that a file may need, as far as it can be told; what is guessed is marked."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.file_kinds import FileKind
from stages.core.base.layout import BROUGHT_FOLDER
from stages.core.inspecting.findings import Inspection, SignatureFacts, TensorFacts
from stages.core.inspecting.wire import parse_graph
from stages.core.params.brought import LAYOUTS, BroughtLayout

GUESS = "# guessed: check it"
OF_THE_API = {
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "num_detections": "num_detections",
}
"""Names of detections in graphs of the Object Detection API and of Model Garden."""
MASKS_OF_THE_API = {"masks": "detection_masks", "reframed_masks": "detection_masks_reframed"}
IMAGE_INFO = "image_info"
"""What TF-Vision's exports give beside their detections."""
FINAL_LAYOUTS = ("detections", "model_garden")
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "matterport": {"detections": (-1, -1, 6), "masks": (-1, -1, -1, -1, -1)},
    "raw_heads": {"boxes": (-1, -1, 4), "scores": (-1, -1, 0), "anchors": (-1, 4)},
}
"""Shapes of the outputs of the other layouts; of scores, the last side is no box's."""
API_GRAPHS = (
    {
        "entry": "normalized_input_image_tensor",
        "boxes": "raw_outputs/box_encodings",
        "scores": "raw_outputs/class_predictions",
        "anchors": "anchors",
        "anchor_format": "centers",
    },
    {
        "entry": "Preprocessor/sub",
        "boxes": "Squeeze",
        "scores": "Postprocessor/convert_scores",
        "anchors": "Concatenate/concat",
        "anchor_format": "corners",
    },
    {
        "entry": "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3",
        "boxes": "Squeeze",
        "scores": "Postprocessor/convert_scores",
        "anchors": "Concatenate/concat",
        "anchor_format": "corners",
    },
)
"""Tensor names of graphs that the Object Detection API exports, the first that a graph has all of; the last two are of
inference graphs, whose pixels are scaled behind or in front of the resize."""


def draft_params(found: Inspection) -> str:
    """YAML text of an entry.

    Raises:
      ArtifactError: if files of this format are not brought, or it is not seen to be a detector.
    """
    kind = FileKind(found.kind)
    if kind not in DRAFTS:
        known = ", ".join(kind.value for kind in DRAFTS)
        raise ArtifactError(f"{found.path}: a {kind.value} cannot be brought as a row; {known} can")
    return DRAFTS[kind](found)


def _draft_frozen_graph(found: Inspection) -> str:
    path = Path(found.path)
    nodes = {node.name: node for node in parse_graph(path.read_bytes()).nodes}
    names = next(
        (row for row in API_GRAPHS if {row[k] for k in ("entry", "boxes", "scores", "anchors")} <= set(nodes)), None
    )
    if names is None:
        raise ArtifactError(
            f"{path}: none of the tensor names of the Object Detection API's one-stage graphs: write `input.name` and "
            "`outputs` by hand (docs/your-own-model.md)"
        )
    shape = nodes[names["entry"]].shape
    size = list(shape[1:3]) if shape and len(shape) == 4 and min(shape[1:3]) > 0 else None
    lines = [
        "    layout: raw_heads",
        "    input:",
        f"      name: {names['entry']}",
        f"      size: {size or [320, 320]}" + ("" if size else f" {GUESS}: the graph does not say"),
        f"      mean: 127.5 {GUESS}",
        f"      deviation: 127.5 {GUESS}",
        f"      resize: stretch {GUESS}",
        f"    outputs: {{boxes: {names['boxes']}, scores: {names['scores']}, anchors: {names['anchors']}}}",
        f"    anchor_format: {names['anchor_format']}",
        f"    labels: [first, second] {GUESS}: the file has no class names",
    ]
    return _entry(found, "frozen_graph", lines)


def _draft_signature(found: Inspection) -> str:
    known = found.signatures or (SignatureFacts(name="none", inputs=(), outputs=()),)
    signature = next((one for one in known if find_outputs(one.outputs)[0]), known[0])
    images = [tensor for tensor in signature.inputs if tensor.shape is None or len(tensor.shape) == 4]
    layout, outputs = find_outputs(signature.outputs)
    is_saved = found.kind == FileKind.SAVED_MODEL
    others = [tensor.name for tensor in signature.inputs if tensor not in images]
    if len(images) != 1 or layout is None or ((others or layout not in FINAL_LAYOUTS) and not is_saved):
        told = ", ".join(f"{tensor.name} {list(tensor.shape or ())}" for tensor in signature.outputs)
        raise ArtifactError(
            f"{found.path}: not seen to be a detector of one image with boxes [1, N, 4], scores and classes [1, N] and "
            f"num_detections [1]; its outputs: {told}"
        )
    image = images[0]
    shape = image.shape or ()
    size = list(shape[1:3]) if len(shape) == 4 and shape[3] == 3 else list(shape[2:4])
    told_size = f"{size}" if len(size) == 2 and min(size) > 0 else f"[320, 320] {GUESS}: the file does not say"
    mean, deviation = guess_statistics(image)
    named = ", ".join(f"{key}: {quote(name)}" for key, name in outputs.items())
    bound = ", ".join(f"{quote(name)}: {BROUGHT_FOLDER}/{name}.npy" for name in others)
    lines = [
        *([f"    signature: {quote(signature.name)}"] if is_saved else []),
        f"    layout: {layout} {GUESS}: by names and shapes of the outputs",
        "    input:",
        f"      name: {quote(image.name)}",
        f"      size: {told_size}",
        f"      mean: {mean:g} {GUESS}",
        f"      deviation: {deviation:g} {GUESS}",
        f"      color_order: RGB {GUESS}",
        f"      resize: stretch {GUESS}",
        f"    outputs: {{{named}}} {GUESS}",
        *(
            [f"    bound: {{{bound}}} {GUESS}: save there what the model's own code passes"]
            if others and layout != "raw_heads"
            else []
        ),
        *(f"    {key}: {value} {GUESS}" for key, value in conventions_of(layout).items()),
        *([] if found.labels else [f"    labels: [first, second] {GUESS}: the file has no class names"]),
    ]
    return _entry(found, found.kind, lines)


def find_outputs(outputs: Sequence[TensorFacts]) -> tuple[str | None, dict[str, str]]:
    """The layout that outputs seem to have, and key in params.yaml to output; None where they fit no row."""
    found = find_detections(outputs)
    if found is not None:
        masks = {
            key: tensor.name for key, name in MASKS_OF_THE_API.items() for tensor in outputs if tensor.name == name
        }
        is_garden = any(tensor.name == IMAGE_INFO for tensor in outputs)
        return ("model_garden" if is_garden else "detections"), found | dict(list(masks.items())[:1])
    by_shape = {
        layout: {key: [t.name for t in outputs if _fits(t.shape, shape)] for key, shape in shapes.items()}
        for layout, shapes in SHAPES.items()
    }
    for layout, names in by_shape.items():
        # Of several that fit, the first: a Mask R-CNN's other outputs come behind.
        if all(names.values()):
            return layout, {key: fitting[0] for key, fitting in names.items()}
    return None, {}


def find_detections(outputs: Sequence[TensorFacts]) -> dict[str, str] | None:
    """Key in params.yaml to output: by the API's names, else by shape, then by name or in the order of the API's op.

    None unless there is one of each.
    """
    if set(OF_THE_API.values()) <= {tensor.name for tensor in outputs}:
        return dict(OF_THE_API)
    boxes = [tensor for tensor in outputs if tensor.shape and len(tensor.shape) == 3 and tensor.shape[2] == 4]
    flat = [tensor for tensor in outputs if tensor.shape and len(tensor.shape) == 2]
    counts = [tensor for tensor in outputs if tensor.shape and len(tensor.shape) == 1]
    if (len(boxes), len(flat), len(counts)) != (1, 2, 1):
        return None
    scores = next((tensor for tensor in flat if "score" in tensor.name), None)
    classes = next((tensor for tensor in flat if "class" in tensor.name and tensor is not scores), None)
    if scores is None or classes is None:
        # TFLite_Detection_PostProcess: boxes, classes, scores, number.
        classes, scores = flat
    return {
        "boxes": boxes[0].name,
        "scores": scores.name,
        "classes": classes.name,
        "num_detections": counts[0].name,
    }


def conventions_of(layout: str) -> dict[str, Any]:
    """What an entry of this layout states beside its outputs, as most models have it."""
    if layout == "raw_heads":
        return {"anchor_format": "corners", "background": "true"}
    usual = {"box_format": "yxyx_normalized", "first_class": 0} if layout in FINAL_LAYOUTS else {}
    return usual | dict(LAYOUTS[BroughtLayout(layout)].conventions)


def _fits(shape: tuple[int, ...] | None, wanted: tuple[int, ...]) -> bool:
    """Whether a shape has the sides that are wanted; 0 is any but 4 and 6, -1 is any."""
    if shape is None or len(shape) != len(wanted):
        return False
    pairs = zip(shape, wanted, strict=True)
    return all(side == want or want < 0 or (want == 0 and side not in (4, 6)) for side, want in pairs)


def guess_statistics(image: TensorFacts) -> tuple[float, float]:
    """Mean and deviation that an image input may want: what a quantized one stores pixels as they are for; else
    -1..1."""
    if image.scale is not None and image.zero_point is not None:
        shift = 128 if image.dtype == "int8" else 0
        return image.zero_point + shift, 1 / image.scale
    return (0.0, 1.0) if image.dtype == "uint8" else (127.5, 127.5)


def quote(name: str) -> str:
    """A name as YAML takes it within a flow mapping."""
    return json.dumps(name) if any(c in name for c in ":,{}[]#&*!|>'\"%@` ") else name


def _entry(found: Inspection, kind: str, lines: list[str]) -> str:
    path = Path(found.path)
    name = "".join(c if c.isalnum() or c == "_" else "_" for c in path.stem)
    head = ["brought:", f"  {name}:", f"    kind: {kind}", f"    path: {BROUGHT_FOLDER}/{path.name}"]
    return "\n".join([*head, *lines]) + "\n"


DRAFTS: dict[FileKind, Callable[[Inspection], str]] = {
    FileKind.FROZEN_GRAPH: _draft_frozen_graph,
    FileKind.TFLITE: _draft_signature,
    FileKind.OPENVINO: _draft_signature,
    FileKind.SAVED_MODEL: _draft_signature,
}
"""THE TABLE of formats that can be rows, with what drafts their entry."""
