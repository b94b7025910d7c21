from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.graphs.flatbuffer import pack_model, parse_model, read_graph, read_model_bytes
from tests.tflite_builder import build_detector


@dataclass(frozen=True)
class Bad:
    id: str
    spoil: Callable[[bytes], bytes]
    says: str


BAD_FILES = [
    Bad("empty", lambda content: b"", "empty file"),
    Bad(
        "lfs_pointer", lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"
    ),
    Bad("another_format", lambda content: b"PK\x03\x04" + content[4:100].replace(b"TFL3", b"xxxx"), "not a .tflite"),
    Bad("truncated_early", lambda content: content[:40], "truncated"),
    Bad("truncated_late", lambda content: content[: len(content) * 3 // 4], "truncated"),
]


@pytest.mark.parametrize("bad", BAD_FILES, ids=attrgetter("id"))
def test_bad_file_is_named_with_what_was_expected(bad: Bad, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(bad.spoil(build_detector()))
    with pytest.raises(ArtifactError, match=bad.says) as caught:
        parse_model(read_model_bytes(file), file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_behind_the_flatbuffer_are_aligned_and_must_be_whole() -> None:
    content = pack_model(parse_model(build_detector(), "hand made"))
    packed = schema.Model.GetRootAs(content, 0)
    offsets = [packed.Buffers(index).Offset() for index in range(packed.BuffersLength())]
    assert any(offsets)
    assert not any(offset % 16 for offset in offsets)
    assert len(read_graph(content, "packed").ops) == len(read_graph(build_detector(), "hand made").ops)
    with pytest.raises(ArtifactError, match="truncated"):
        parse_model(content[:-1], "cut")


def test_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingResultError, match="run `export` first"):
        read_model_bytes(tmp_path / "model.tflite")


def test_graph_of_a_hand_made_file() -> None:
    graph = read_graph(build_detector(), "hand made")
    assert list(graph.inputs) == ["image"]
    assert "TFLite_Detection_PostProcess" in {op.kind for op in graph.ops if op.custom}
    last = graph.ops[-1]
    assert all(graph.producers[index] is last for index in last.outputs)
    assert all(op in graph.consumers[index] for op in graph.ops for index in op.inputs)
