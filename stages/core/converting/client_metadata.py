"""TFLite Model Metadata: what mobile libraries (MediaPipe Tasks, Task Library) must find in a detector's file.

The numbers are those of the public schema, `metadata_schema.fbs` of tensorflow/tflite-support; the names of the outputs
are those that the libraries look for. The label file is in a ZIP archive behind the flatbuffer, as the format has it.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from stages.core.base.layout import LABEL_LIST_FILE
from stages.core.graphs.flatbuffer import parse_model, text
from stages.core.graphs.packing import pack_inside
from stages.core.graphs.tables import Table, pack_tables
from stages.core.results.interface import Interface
from stages.core.results.labels import label_list

ENTRY = "TFLITE_METADATA"
IDENTIFIER = b"M001"
PARSER_VERSION = "1.2.0"
"""The first version of the libraries' parsers that knows groups of tensors."""

FEATURE, IMAGE, BOUNDING_BOX = (np.uint8(number) for number in (1, 2, 3))
NORMALIZATION = np.uint8(1)
RGB = np.int8(1)
BOUNDARIES, RATIO = np.int8(1), np.int8(0)
TENSOR_VALUE_LABELS = np.int8(3)
XYXY_IN_YXYX = np.asarray([1, 0, 3, 2], np.uint32)
"""Where left, top, right and bottom are in a row of `detection_boxes`."""
GROUP = "detection_result"

RESIZES = {
    "fit_pad": "Scale by one factor, place at the top left, fill the rest with the padding of interface.json.",
    "stretch": "Scale height and width each by its own factor.",
}

ROLES: dict[str, tuple[str, str]] = {
    "detection_boxes": ("location", "Boxes [top, left, bottom, right], divided by the input's height and width."),
    "detection_classes": ("category", "Classes, as positions in the label file from 0."),
    "detection_scores": ("score", "Scores, 0..1."),
    "num_detections": ("number of detections", "How many rows of the other outputs are filled."),
}
"""Output to the role that the libraries know it by and a few words, in the order that they expect."""


def finish_file(content: bytes, interface: Interface) -> bytes:
    """The file as it ships: values inside the flatbuffer and, for a detector of boxes, metadata and label file.

    Its outputs then stand in the order location, category, score, number: some clients read them by position. A model
    with further outputs (masks) is one that the libraries cannot use: it gets no metadata.

    Args:
      content: A finished .tflite file.
      interface: Its contract.

    Raises:
      ArtifactError: if the bytes are not a whole .tflite flatbuffer.
    """
    model = parse_model(content, "the converted file")
    if {output.name for output in interface.outputs} != set(ROLES):
        return pack_inside(model)
    order_outputs(model)
    add_entry(model, pack_tables(describe_model(interface), IDENTIFIER))
    return append_file(pack_inside(model), LABEL_LIST_FILE, label_list(interface))


def describe_model(interface: Interface) -> Table:
    """`ModelMetadata` of a detector."""
    outputs = [describe_output(name) for name in ROLES]
    group = {0: GROUP, 1: [role for role, _ in ROLES.values()]}
    subgraph = {2: [describe_input(interface)], 3: outputs, 8: [group]}
    size = " x ".join(map(str, interface.input.size))
    about = f"{interface.model}, detects {', '.join(interface.labels.values())}; input {size}"
    return {0: "ObjectDetector", 1: about, 3: [subgraph], 7: PARSER_VERSION}


def describe_input(interface: Interface) -> Table:
    """`TensorMetadata` of the image: raw pixels, because the graph normalizes them itself."""
    spec = interface.input
    size = {0: np.uint32(spec.size[1]), 1: np.uint32(spec.size[0])}
    identity = {0: np.asarray([0], np.float32), 1: np.asarray([1], np.float32)}
    low, high = (np.asarray([value], np.float32) for value in spec.value_range)
    return {
        0: "image",
        1: f"RGB pixels, 0..255. {RESIZES[spec.resize]}",
        3: {0: IMAGE, 1: {0: RGB, 1: size}},
        4: [{0: NORMALIZATION, 1: identity}],
        5: {0: high, 1: low},
    }


def describe_output(name: str) -> Table:
    """`TensorMetadata` of one output."""
    role, about = ROLES[name]
    content: dict[int, Any] = {0: FEATURE, 1: {}}
    if role == "location":
        content = {0: BOUNDING_BOX, 1: {0: XYXY_IN_YXYX, 1: BOUNDARIES, 2: RATIO}}
    entry: dict[int, Any] = {0: role, 1: about, 3: content}
    if role == "category":
        entry[6] = [{0: LABEL_LIST_FILE, 1: "One name a line.", 2: TENSOR_VALUE_LABELS}]
    return entry


def order_outputs(model: Any) -> None:
    """Puts the main subgraph's outputs into the order of `ROLES`; signatures name tensors and stay true."""
    names: Mapping[str, int] = {text(entry.name): entry.tensorIndex for entry in model.signatureDefs[0].outputs}
    model.subgraphs[0].outputs = [names[name] for name in ROLES]


def add_entry(model: Any, data: bytes) -> None:
    """Adds the metadata buffer; one that is there already is replaced."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, len(model.buffers) - 1
    kept = []
    for other in model.metadata or ():
        if text(other.name) == ENTRY:
            model.buffers[other.buffer].data = None
        else:
            kept.append(other)
    model.metadata = [*kept, entry]


def append_file(content: bytes, name: str, data: str) -> bytes:
    """The file with a ZIP archive behind it that holds one text file, uncompressed; the same bytes at any time."""
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.create_system = 3
        archive.writestr(entry, data)
    return stream.getvalue()
