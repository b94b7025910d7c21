"""Editing a text: the value changes, and no other byte does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.editing import find_fields, remove_field, set_value, set_values
from stages.core.tfod.textformat import Field, Identifier, Message, Scalar, parse_text

TEXT = """# Head.
model {  # a comment
  ssd: <
    num_classes: 90;   # as in COCO
    brand_new_field { x: 1 }
    scales: [0.25, 0.5]  # a list
  >
}

train_config: { batch_size : 512, num_steps: 4 }
option { flip { } }
option { crop { } } # last
"""


@pytest.mark.parametrize(
    ("path", "old", "new", "value"),
    [
        ("model.ssd.num_classes", "90;", "3;", 3),
        ("train_config.batch_size", "512", "8", 8),
        ("train_config.num_steps", "4 }", "1e-08 }", 1e-8),
        ("model.ssd.scales[1]", "0.5]", "0.75]", 0.75),
        ("model.ssd.brand_new_field.x", "x: 1", "x: YES", Identifier("YES")),
        ("model.ssd.num_classes", "90;", '"a\\"b";', 'a"b'),
        ("option[1].crop", "crop { }", "crop {\n  p: 1\n}", Message((Field("p", 1),))),
    ],
)
def test_a_value_is_replaced_in_its_place(path: str, old: str, new: str, value: Scalar | Message) -> None:
    assert TEXT.count(old) == 1
    assert set_value(TEXT, path, value) == TEXT.replace(old, new)


@pytest.mark.parametrize(
    ("path", "before", "added"),
    [
        ("model.ssd.min_scale", "  >\n", "    min_scale: 7\n"),
        ("model.ssd.a.b", "  >\n", "    a {\n      b: 7\n    }\n"),
        ("train_config.seed", "}\noption { flip", "seed: 7 "),
        ("option[0].flip.p", "} }\noption { crop", "p: 7 "),
    ],
)
def test_a_new_field_is_added_at_the_end_of_its_message(path: str, before: str, added: str) -> None:
    assert TEXT.count(before) == 1
    assert set_value(TEXT, path, 7) == TEXT.replace(before, added + before)


def test_a_new_field_of_the_file() -> None:
    assert set_value(TEXT, "a.b", 7) == TEXT + "a {\n  b: 7\n}\n"
    assert set_value("x: 1", "a", 7) == "x: 1\na: 7\n"
    assert set_value("", "a", 7) == "a: 7\n"
    assert set_value("x {\r\n  y: 1\r\n}\r\n", "x.a.b", 7) == "x {\r\n  y: 1\r\n  a {\r\n    b: 7\r\n  }\r\n}\r\n"


def test_a_field_is_removed_with_its_line_and_without_its_comment() -> None:
    assert remove_field(TEXT, "model.ssd.brand_new_field") == TEXT.replace("    brand_new_field { x: 1 }\n", "")
    assert remove_field(TEXT, "model.ssd.num_classes") == TEXT.replace("num_classes: 90;", "")
    assert "# last" in remove_field(TEXT, "option")
    assert parse_text(remove_field(TEXT, "option")).all("option") == []
    assert remove_field(TEXT, "model.no.such") == TEXT


def test_repeated_fields() -> None:
    assert set_values(TEXT, "model.ssd.scales", [0.1, 0.2]) == TEXT.replace("0.25, 0.5", "0.1, 0.2")
    longer = set_values(TEXT, "model.ssd.scales", [0.1, 0.2, 0.3])
    assert [field.value for field in find_fields(parse_text(longer), "model.ssd.scales")] == [0.1, 0.2, 0.3]
    assert longer.startswith(TEXT[: TEXT.index("scales")])
    assert find_fields(parse_text(set_values(TEXT, "new.a", [1, 2])), "new.a")[1].value == 2


def test_a_path_that_leads_nowhere() -> None:
    with pytest.raises(ForeignConfigError, match=r"option is there 2 times \(lines 11, 12\)"):
        set_value(TEXT, "option.flip", 1)
    with pytest.raises(ForeignConfigError, match="line 10: num_steps is no message"):
        set_value(TEXT, "train_config.num_steps.a", 1)


LEAVES = ("model.ssd.num_classes", "model.ssd.scales[0]", "model.ssd.scales[1]", "train_config.num_steps")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(LEAVES), st.integers(-9, 10**6) | st.text(max_size=5)), max_size=6))
def test_edits_keep_every_other_byte(edits: list[tuple[str, int | str]]) -> None:
    text = TEXT
    for path, value in edits:
        (field,) = find_fields(parse_text(text), path)
        edited = set_value(text, path, value)
        start, end = field.span
        assert edited.startswith(text[:start])
        assert edited.endswith(text[end:])
        assert find_fields(parse_text(edited), path)[0].value == value
        text = edited
    assert text.startswith("# Head.\nmodel {  # a comment\n")
