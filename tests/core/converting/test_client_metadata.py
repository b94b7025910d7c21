"""What mobile libraries find in a shipped file, read back with a reader of its own."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import number_types
from flatbuffers.table import Table

from stages.core.converting.client_metadata import ENTRY, ROLES, finish_file
from stages.core.graphs.flatbuffer import pack_model, parse_model, read_graph
from stages.core.results.interface import Interface
from stages.core.results.labels import label_list, write_label_list
from stages.core.running.open import open_runner
from tests.tflite_builder import SIZE, build_detector, build_segmenter
from tests.tiny_project import tiny_interface, write_artifact


def detector_interface(**changes: Any) -> Interface:
    return replace(tiny_interface("retinanet_mobiledet_tiny"), **changes)


def segmenter_interface() -> Interface:
    return tiny_interface("maskrcnn_tiny")


class Reader:
    """A table of a flatbuffer, by field number: the format's own rules, and nothing of what wrote it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @classmethod
    def root(cls, data: bytes) -> "Reader":
        return cls(Table(data, int.from_bytes(data[:4], "little")))

    def _at(self, field: int) -> int:
        offset = self._table.Offset(4 + 2 * field)
        assert offset, f"field {field} is not there"
        return int(self._table.Pos + offset)

    def text(self, field: int) -> str:
        return bytes(self._table.String(self._at(field))).decode()

    def number(self, field: int, kind: Any = number_types.Int8Flags) -> int:
        offset = self._table.Offset(4 + 2 * field)
        return int(self._table.Get(kind, self._table.Pos + offset)) if offset else 0

    def table(self, field: int) -> "Reader":
        return Reader(Table(self._table.Bytes, self._table.Indirect(self._at(field))))

    def vector(self, field: int, kind: Any) -> list[float]:
        offset = self._at(field) - self._table.Pos
        array = self._table.GetVectorAsNumpy(kind, offset)
        return list(array.tolist())

    def tables(self, field: int) -> list["Reader"]:
        offset = self._at(field) - self._table.Pos
        start, length = self._table.Vector(offset), self._table.VectorLen(offset)
        return [Reader(Table(self._table.Bytes, self._table.Indirect(start + 4 * i))) for i in range(length)]

    def texts(self, field: int) -> list[str]:
        offset = self._at(field) - self._table.Pos
        start, length = self._table.Vector(offset), self._table.VectorLen(offset)
        return [bytes(self._table.String(start + 4 * i)).decode() for i in range(length)]


def read_metadata(content: bytes) -> bytes:
    """The one metadata buffer of a file."""
    model = schema.Model.GetRootAs(content, 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == ENTRY.encode()]
    return bytes(model.Buffers(entry.Buffer()).DataAsNumpy())


def test_the_input_is_described() -> None:
    data = read_metadata(finish_file(build_detector(), detector_interface()))
    assert data[4:8] == b"M001"
    root = Reader.root(data)
    assert root.text(7) == "1.2.0"
    (subgraph,) = root.tables(3)
    (image,) = subgraph.tables(2)
    assert image.text(0) == "image"
    content = image.table(3)
    assert content.number(0, number_types.Uint8Flags) == 2, "ImageProperties"
    assert content.table(1).number(0) == 1, "RGB"
    size = content.table(1).table(1)
    assert [size.number(field, number_types.Uint32Flags) for field in (0, 1)] == [SIZE, SIZE]
    (unit,) = image.tables(4)
    assert unit.number(0, number_types.Uint8Flags) == 1, "NormalizationOptions"
    assert [unit.table(1).vector(field, number_types.Float32Flags) for field in (0, 1)] == [[0.0], [1.0]]
    assert [image.table(5).vector(field, number_types.Float32Flags) for field in (0, 1)] == [[255.0], [0.0]]


@pytest.mark.parametrize(("resize", "says"), [("fit_pad", "at the top left"), ("stretch", "each by its own factor")])
def test_how_images_become_the_input_is_said(resize: Any, says: str) -> None:
    interface = detector_interface()
    interface = replace(interface, input=replace(interface.input, resize=resize))
    (subgraph,) = Reader.root(read_metadata(finish_file(build_detector(), interface))).tables(3)
    assert says in subgraph.tables(2)[0].text(1)


def test_the_outputs_have_the_roles_that_libraries_look_for() -> None:
    content = finish_file(build_detector(), detector_interface())
    (subgraph,) = Reader.root(read_metadata(content)).tables(3)
    boxes, classes, scores, count = outputs = subgraph.tables(3)
    assert [output.text(0) for output in outputs] == ["location", "category", "score", "number of detections"]
    assert [output.table(3).number(0, number_types.Uint8Flags) for output in outputs] == [3, 1, 1, 1]
    corners = boxes.table(3).table(1)
    assert corners.vector(0, number_types.Uint32Flags) == [1, 0, 3, 2]
    assert (corners.number(1), corners.number(2)) == (1, 0), "boundaries, as ratios of the input's sides"
    (file,) = classes.tables(6)
    assert (file.text(0), file.number(2)) == ("labels.txt", 3)
    (group,) = subgraph.tables(8)
    assert group.texts(1) == [output.text(0) for output in outputs]
    assert scores.text(1)
    assert count.text(1)


def test_the_label_file_is_in_the_file_and_beside_it(tmp_path: Path) -> None:
    content = finish_file(build_detector(), detector_interface())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt") == b"red\ngreen\nblue\n"
        assert archive.testzip() is None
    write_label_list(detector_interface(), tmp_path)
    assert (tmp_path / "labels.txt").read_text() == "red\ngreen\nblue\n"


@pytest.mark.parametrize(
    ("labels", "offset", "lines"),
    [
        ({"1": "a", "2": "b"}, 1, ["a", "b"]),
        ({"1": "a", "2": "b"}, 0, ["???", "a", "b"]),
        ({"1": "a", "4": "d"}, 1, ["a", "???", "???", "d"]),
        ({"1": "two\nlines", "2": "Rübe"}, 1, ["two lines", "Rübe"]),
    ],
    ids=["from 1", "no offset", "gaps", "odd names"],
)
def test_a_line_is_what_the_class_output_says(labels: dict[str, str], offset: int, lines: list[str]) -> None:
    interface = detector_interface(labels=labels, class_offset=offset)
    assert label_list(interface).splitlines() == lines


def test_a_map_of_classes_names_the_lines() -> None:
    interface = detector_interface(labels={"1": "cat", "2": "dog"}, class_map=(0, 2, 0, 1))
    assert label_list(interface).splitlines() == ["???", "dog", "???", "cat"]


def shuffled_detector() -> bytes:
    """The detector with its outputs in another order."""
    model = parse_model(build_detector(), "hand made")
    model.subgraphs[0].outputs = list(reversed(model.subgraphs[0].outputs))
    return pack_model(model)


def test_outputs_stand_in_the_order_that_clients_read_them_in() -> None:
    content = finish_file(shuffled_detector(), detector_interface())
    interpreter = Interpreter(model_content=content)
    names = {index: name for name, index in read_graph(content, "finished").outputs.items()}
    assert [names[details["index"]] for details in interpreter.get_output_details()] == list(ROLES)


@pytest.mark.parametrize(
    "build", [build_detector, build_segmenter, shuffled_detector], ids=lambda build: build.__name__
)
def test_nothing_else_changes(build: Any, tmp_path: Path) -> None:
    """Neither the graph nor what it answers; and all values are inside, at multiples of 16 bytes."""
    interface = segmenter_interface() if build is build_segmenter else detector_interface()
    content = finish_file(build(), interface)
    before, after = read_graph(build(), "before"), read_graph(content, "after")
    assert [(op.kind, op.inputs, op.outputs) for op in after.ops] == [
        (op.kind, op.inputs, op.outputs) for op in before.ops
    ]
    assert after.outputs == before.outputs

    model = schema.Model.GetRootAs(content, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    assert not any(buffer.Offset() or buffer.Size() for buffer in buffers)
    start = np.frombuffer(content, np.uint8).ctypes.data
    offsets = [buffer.DataAsNumpy().ctypes.data - start for buffer in buffers if buffer.DataLength()]
    assert len(offsets) >= 3
    assert not any(offset % 16 for offset in offsets)

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (16, 16, 3), np.uint8)
    found = []
    for name, data in (("before", build()), ("after", content)):
        runner = open_runner(write_artifact(tmp_path / name, data, interface), num_threads=1)
        found.append((runner.run(picture), runner.outputs))
    for name, array in found[0][1].items():
        np.testing.assert_array_equal(array, found[1][1][name])
    np.testing.assert_array_equal(found[0][0].boxes_xyxy, found[1][0].boxes_xyxy)


def test_models_with_masks_have_no_metadata() -> None:
    content = finish_file(build_segmenter(), segmenter_interface())
    assert not schema.Model.GetRootAs(content, 0).MetadataLength()
    assert not zipfile.is_zipfile(io.BytesIO(content))


def test_a_file_is_the_same_bytes_each_time_and_metadata_is_there_once() -> None:
    content = finish_file(build_detector(), detector_interface())
    assert content == finish_file(build_detector(), detector_interface())
    again = finish_file(content, detector_interface(labels={"1": "other"}))
    assert "other" in Reader.root(read_metadata(again)).text(1)
