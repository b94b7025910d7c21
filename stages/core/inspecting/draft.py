"""The entry below `brought` that a file may need, as far as it can be told; what is guessed is marked."""

from collections.abc import Callable
from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.base.file_kinds import FileKind
from stages.core.base.layout import BROUGHT_FOLDER
from stages.core.inspecting.findings import Inspection
from stages.core.inspecting.wire import parse_graph

GUESS = "# guessed: check it"
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


def _entry(found: Inspection, kind: str, lines: list[str]) -> str:
    path = Path(found.path)
    name = "".join(c if c.isalnum() or c == "_" else "_" for c in path.stem)
    head = ["brought:", f"  {name}:", f"    kind: {kind}", f"    path: {BROUGHT_FOLDER}/{path.name}"]
    return "\n".join([*head, *lines]) + "\n"


DRAFTS: dict[FileKind, Callable[[Inspection], str]] = {FileKind.FROZEN_GRAPH: _draft_frozen_graph}
"""THE TABLE of formats that can be rows, with what drafts their entry."""
