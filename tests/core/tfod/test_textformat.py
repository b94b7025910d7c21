"""Protobuf's text format: every spelling, mistakes with their lines, and the same reading as protobuf's own parser."""

import math
import string
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, struct_pb2, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.textformat import Field, Identifier, Message, parse_text, print_text

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8).filter(lambda x: not x[0].isdigit())
NUMBER_NAMES = {"inf", "infinity", "nan"}
SCALARS = (
    st.text(max_size=12)
    | st.binary(max_size=4).map(lambda data: data.decode(errors="surrogateescape"))
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | NAMES.filter(lambda x: x.lower() not in NUMBER_NAMES).map(Identifier)
)


def messages(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return st.lists(st.builds(Field, NAMES, values), max_size=4).map(lambda fields: Message(tuple(fields)))


MESSAGES = messages(st.recursive(SCALARS, messages, max_leaves=12))


@settings(max_examples=40)
@given(MESSAGES)
def test_what_is_printed_reads_back(message: Message) -> None:
    assert parse_text(print_text(message)) == message


def test_not_a_number_reads_back() -> None:
    (field,) = parse_text(print_text(Message((Field("a", math.nan),)))).fields
    assert isinstance(field.value, float)
    assert math.isnan(field.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("- 7", -7),
        ("0x1F", 31),
        ("017", 15),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e-8", 1e-8),
        ("4E3", 4000.0),
        ("2f", 2.0),
        ("2.5F", 2.5),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("true", Identifier("true")),
        ("RELU_6", Identifier("RELU_6")),
        ("'single'", "single"),
        ('"a" \'b\' # between\n "c"', "abc"),
        (r"'\n\t\\\'\"\x41\101\u00e9\U0001F600'", "\n\t\\'\"AAé😀"),
        (r"'\303\251'", "é"),
        ('"# no comment"', "# no comment"),
    ],
)
def test_spellings_of_values(written: str, value: object) -> None:
    (field,) = parse_text(f"a: {written}").fields
    assert field.value == value
    assert type(field.value) is type(value)


ONE_FIELD = Message((Field("a", Message((Field("b", 1),))),))


@pytest.mark.parametrize(
    "text",
    [
        "a { b: 1 }",
        "a: { b: 1 }",
        "a < b: 1 >",
        "a: < b: 1, >;",
        "a{b:1;}",
        "\ufeffa { # a comment\r\n\tb : 1 }\r\n",
        "a: [ { b: [1] } ]",
        "a [ < b: 1 > ]",
    ],
)
def test_spellings_of_messages(text: str) -> None:
    assert parse_text(text) == ONE_FIELD


def test_a_list_is_a_repeated_field() -> None:
    assert parse_text("a: [1, 2] a: [] a: 3") == parse_text("a: 1 a: 2; a: 3,")


def test_names_of_extensions() -> None:
    names = [field.name for field in parse_text("[a.b.c] { d: 1 } [type.example.com/a.B] { }").fields]
    assert names == ["[a.b.c]", "[type.example.com/a.B]"]


def test_fields_know_their_lines() -> None:
    outer, last = parse_text("# one\nouter {\n  # three\n  inner: 4\n}\nlast: [\n 7\n]").fields
    assert isinstance(outer.value, Message)
    assert (outer.line, outer.value.fields[0].line, last.line) == (2, 4, 7)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb {\n c: 2\n", 4, "the file ends inside 'b', opened on line 2: truncated?"),
        ("a: 1\nb: ", 2, "expected a value for 'b', found the end of the file"),
        ("a: 1\nb: 'open\n", 2, "a string has no closing quote"),
        ("a: 1\n}", 2, "expected a field's name, found '}'"),
        ("a { b: 1 >", 1, "expected a field's name, found '>'"),
        ("a\nb: 1", 2, "expected ':' or '{' after 'a', found 'b'"),
        ("a: [1 2]", 1, "expected ',' or ']' in the list of 'a', found '2'"),
        ("a: [1", 1, "found the end of the file"),
        ("a: 08", 1, "a: not an octal number: 08"),
        ("a: 1x", 1, "not a number: '1x'"),
        ("a: 1.2.3", 1, "not a number: '1.2.3'"),
        ("a: 99999999999999999999999", 1, "larger than 64 bits"),
        ("a: -9223372036854775809", 1, "below what 64 bits hold"),
        ("a: " + "9" * 10_000, 1, "larger than 64 bits"),
        ("a: -b", 1, "expected a number after '-'"),
        (r"a: '\q'", 1, "no such escape"),
        (r"a: '\777'", 1, "no such byte"),
        (r"a: '\ud800'", 1, "no such character"),
        ("a = 1", 1, "not protobuf text format: unexpected '='"),
        ('{"a": 1}', 1, "expected a field's name, found '{'"),
        ("a { " * 5000, 1, "more than 100 messages in one another"),
    ],
)
def test_mistakes_have_a_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ForeignConfigError) as told:
        parse_text(text, "it.config")
    assert str(told.value).startswith(f"it.config: line {line}: ")
    assert says in str(told.value)


@given(st.text("ab:{}<>[]\"'\\,;#-.0x1e\n ", max_size=60))
def test_any_text_parses_or_says_why(text: str) -> None:
    try:
        message = parse_text(text)
    except ForeignConfigError:
        return
    assert parse_text(print_text(message)) == message


def test_protobuf_writes_and_we_read_and_write_and_protobuf_reads() -> None:
    descriptor = descriptor_pb2.FileDescriptorProto()
    descriptor_pb2.DESCRIPTOR.CopyToProto(descriptor)
    for form in ({}, {"as_one_line": True}, {"use_short_repeated_primitives": True}, {"as_utf8": True}):
        message = parse_text(text_format.MessageToString(descriptor, **form))
        assert text_format.Parse(print_text(message), descriptor_pb2.FileDescriptorProto()) == descriptor


@given(st.floats(allow_nan=False), st.text(max_size=20))
def test_protobuf_reads_the_same_values(number: float, text: str) -> None:
    message = Message((Field("values", Message((Field("number_value", number),))),))
    message = Message((*message.fields, Field("values", Message((Field("string_value", text),)))))
    read = text_format.Parse(print_text(message), struct_pb2.ListValue())
    assert (read.values[0].number_value, read.values[1].string_value) == (number, text)
