"""Label maps: what is read, what is refused with its line, and what is written."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.label_map import parse_label_map, print_label_map, read_label_map

MAP = """# Two classes, with a gap.
item {
  name: "/m/04"  id: 4
  display_name: 'cat'
}
item: < id: 1, name: "dog"
>
"""


def test_names_and_display_names() -> None:
    assert parse_label_map(MAP) == {1: "dog", 4: "cat"}
    assert parse_label_map(MAP, display_names=False) == {1: "dog", 4: "/m/04"}


def test_the_apis_background_is_left_out() -> None:
    assert parse_label_map("item { id: 0 name: 'background' } item { id: 1 name: 'a' }") == {1: "a"}


def test_other_fields_of_an_item_do_not_matter() -> None:
    assert parse_label_map("item { id: 1 name: 'a' keypoints { id: 1 label: 'nose' } frequency: RARE }") == {1: "a"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }", 2, "id 1 is there twice, first on line 1"),
        ("item { id: 1 name: 'a' }\nitem { id: 2 name: 'a' }", 2, "name 'a' is there twice, first on line 1"),
        ("\nitem { id: 0 name: 'a' }", 2, "'a' has id 0: 0 is the API's background, classes count from 1"),
        ("item { id: -3 name: 'a' }", 1, "'a' has id -3"),
        ("item { name: 'a' }", 1, "item 'a': expected a whole number as id, found no id"),
        ("item { id: 1.5 name: 'a' }", 1, "found id 1.5"),
        ("item { id: 'x' name: 'a' }", 1, "found id 'x'"),
        ("item { id: 1 }", 1, "item with id 1: expected a name in quotes, found None"),
        ("item { id: 1 name: '' }", 1, "expected a name in quotes, found ''"),
        ("item { id: 1 name: a }", 1, "expected a name in quotes"),
        ("item { id: 1 id: 2 name: 'a' }", 1, "one item with 2 fields 'id'"),
        ("model { }", 1, "expected `item { ... }`, found 'model': not a label map"),
        ("item { id: 1 name: 'a'\n", 2, "the file ends inside 'item', opened on line 1"),
    ],
)
def test_mistakes_have_a_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ForeignConfigError) as told:
        parse_label_map(text, "it.pbtxt")
    assert str(told.value).startswith(f"it.pbtxt: line {line}: ")
    assert says in str(told.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "binary.pbtxt").write_bytes(b"item\n\xff\xfe")
    (tmp_path / "zero.pbtxt").write_bytes(b"item\n\0")
    (tmp_path / "empty.pbtxt").write_text("# nothing\n")
    for name, says in (
        ("missing.pbtxt", "no such file"),
        (".", "directory"),
        ("binary.pbtxt", r"line 2: no text \(byte 5 is not UTF-8\)"),
        ("zero.pbtxt", r"line 2: no text \(a zero byte\)"),
        ("empty.pbtxt", "no classes"),
    ):
        with pytest.raises(ForeignConfigError, match=f"(?i){says}"):
            read_label_map(tmp_path / name)


@given(
    st.dictionaries(
        st.integers(1, 10**6),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        min_size=1,
        max_size=6,
    ).filter(lambda labels: len(set(labels.values())) == len(labels))
)
def test_what_is_written_reads_back(labels: dict[int, str]) -> None:
    assert parse_label_map(print_label_map(labels)) == labels


def test_what_is_written() -> None:
    assert print_label_map({2: "b", 1: "a"}) == ('item {\n  id: 1\n  name: "a"\n}\n\nitem {\n  id: 2\n  name: "b"\n}\n')


@pytest.mark.skipif("DETECTION_SAMPLES" not in os.environ, reason="DETECTION_SAMPLES is not set")
@pytest.mark.parametrize(
    ("name", "number", "first", "last"),
    [("mscoco", 80, "person", "toothbrush"), ("pascal", 20, "aeroplane", "tvmonitor"), ("pet", 37, "Abyssinian", None)],
)
def test_published_label_maps(name: str, number: int, first: str, last: str | None) -> None:
    labels = read_label_map(Path(os.environ["DETECTION_SAMPLES"], "tfod", "label_maps", f"{name}_label_map.pbtxt"))
    names = list(labels.values())
    assert (len(labels), names[0]) == (number, first)
    assert last in (names[-1], None)
