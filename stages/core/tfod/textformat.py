"""Protobuf's text format without a schema: text to a tree of fields that know their positions, and back.

`google.protobuf.text_format` needs the compiled messages, refuses what they do not know, and forgets comments and
positions. Here every name is taken as it comes; `editing.py` changes single values of a text and keeps all else.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.core.tfod.lexing import Positions, Span, Token, TokenKind, read_number, read_tokens, unquote

MAX_DEPTH = 100
"""Messages in messages: as deep as protobuf's own parsers go."""
_NOWHERE = (0, 0)
_CLOSING = {"{": "}", "<": ">"}


@dataclass(frozen=True)
class Identifier:
    """A value without quotes: an enumeration's name, `true` or `false`."""

    name: str


@dataclass(frozen=True)
class Message:
    """Fields in the order of the text.

    Attributes:
      fields: All of them; a repeated field is several with one name, however it was written.
      inside: Of a parsed message, the text between its brackets.
    """

    fields: tuple["Field", ...] = ()
    inside: Span = field(default=_NOWHERE, compare=False)

    def all(self, name: str) -> list["Field"]:
        """Fields of one name."""
        return [found for found in self.fields if found.name == name]


Scalar = str | int | float | Identifier


@dataclass(frozen=True)
class Field:
    """A name with one value. Positions are those of a parsed text and do not count in comparisons.

    Attributes:
      name: Of an extension or an `Any`, with its square brackets.
      line: From 1.
      span: The value. statement: From the name to the value's end, with the separator that may follow it; the same for
        all elements of a list.
    """

    name: str
    value: Scalar | Message
    line: int = field(default=0, compare=False)
    span: Span = field(default=_NOWHERE, compare=False)
    statement: Span = field(default=_NOWHERE, compare=False)


def parse_text(text: str, name: str = "text") -> Message:
    """Reads a whole file.

    Args:
      text: The file's text.
      name: What messages call it.

    Raises:
      ForeignConfigError: where it is not text format, with the line.
    """
    return _Parser(text, name).read_file()


def print_text(message: Message, indent: int = 0) -> str:
    """The text of a message, one field a line, two spaces a level; `parse_text` gives the same message back."""
    return "".join(f"{line}\n" for line in _lines(message, " " * indent))


def print_scalar(value: Scalar) -> str:
    """The text of a single value.

    Floats have the fewest digits that give the same double.
    """
    if isinstance(value, Identifier):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return _quote(value) if isinstance(value, str) else repr(value)


def to_message(tree: Mapping[str, Any]) -> Message:
    """A message from plain values: a mapping is a message, a list a repeated field, a bool an identifier."""
    fields = []
    for name, value in tree.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Mapping):
                item = to_message(item)
            elif isinstance(item, bool):
                item = Identifier(str(item).lower())
            fields.append(Field(name, item))
    return Message(tuple(fields))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for found in message.fields:
        if isinstance(found.value, Message):
            yield f"{indent}{found.name} {{"
            yield from _lines(found.value, indent + "  ")
            yield f"{indent}}}"
        else:
            yield f"{indent}{found.name}: {print_scalar(found.value)}"


def _quote(text: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}

    def escape(match: re.Match[str]) -> str:
        found = match.group()
        return named.get(found) or "".join(f"\\{byte:03o}" for byte in found.encode(errors="surrogateescape"))

    return '"' + re.sub(r'[\x00-\x1f\x7f"\\\udc80-\udcff]', escape, text) + '"'


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, name: str) -> None:
        self._positions = Positions(text, name)
        self._tokens = read_tokens(text, self._positions)
        self._next = next(self._tokens)
        self._end = 0
        self._depth = 0

    def read_file(self) -> Message:
        fields = tuple(self._fields(closing="", opened=None))
        return Message(fields, (0, self._next.span[1]))

    def _fields(self, closing: str, opened: tuple[str, Token] | None) -> Iterator[Field]:
        """Fields up to `closing`, which is not taken; `opened` is the name and opening bracket of their message."""
        while self._next.text != closing or self._next.kind is TokenKind.STRING:
            if self._next.kind is TokenKind.END and opened:
                name, bracket = opened
                line = self._positions.line(bracket.span[0])
                raise self._wrong(f"the file ends inside {name!r}, opened on line {line}: truncated?")
            yield from self._statement()

    def _statement(self) -> Iterable[Field]:
        start = self._next.span[0]
        name = self._name()
        colon = self._skip(":")
        values = list(self._values(name, colon=colon))
        for separator in ",;":
            if self._skip(separator):
                break
        return [Field(name, value, line, span, (start, self._end)) for value, line, span in values]

    def _name(self) -> str:
        if self._skip("["):
            parts = []
            while not self._skip("]"):
                if self._next.kind not in (TokenKind.NAME, TokenKind.NUMBER) and self._next.text not in (".", "/", "-"):
                    raise self._wrong(f"expected the name of an extension, found {self._seen()}")
                parts.append(self._take().text)
            return f"[{''.join(parts)}]"
        if self._next.kind is not TokenKind.NAME:
            raise self._wrong(f"expected a field's name, found {self._seen()}")
        return self._take().text

    def _values(self, name: str, *, colon: bool) -> Iterator[tuple[Scalar | Message, int, Span]]:
        if self._next.text == "[" and self._next.kind is TokenKind.SYMBOL:
            self._take()
            while not self._skip("]"):
                yield self._value(name, colon=colon)
                if not self._skip(",") and self._next.text != "]":
                    raise self._wrong(f"expected ',' or ']' in the list of {name!r}, found {self._seen()}")
        else:
            yield self._value(name, colon=colon)

    def _value(self, name: str, *, colon: bool) -> tuple[Scalar | Message, int, Span]:
        start = self._next.span[0]
        is_message = self._next.kind is TokenKind.SYMBOL and self._next.text in _CLOSING
        if not is_message and not colon:
            raise self._wrong(f"expected ':' or '{{' after {name!r}, found {self._seen()}")
        value = self._message(name) if is_message else self._scalar(name)
        return value, self._positions.line(start), (start, self._end)

    def _message(self, name: str) -> Message:
        bracket = self._take()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"more than {MAX_DEPTH} messages in one another")
        closing = _CLOSING[bracket.text]
        fields = tuple(self._fields(closing, (name, bracket)))
        inside = (bracket.span[1], self._take().span[0])
        self._depth -= 1
        return Message(fields, inside)

    def _scalar(self, name: str) -> Scalar:
        at = self._next.span[0]
        negative = self._skip("-")
        kind = self._next.kind
        try:
            if kind is TokenKind.NUMBER:
                return _signed(read_number(self._take().text), negative=negative)
            if kind is TokenKind.NAME:
                return _named_value(self._take().text, negative=negative)
            if kind is TokenKind.STRING and not negative:
                parts = []
                while self._next.kind is TokenKind.STRING:
                    parts.append(unquote(self._take().text))
                return "".join(parts)
        except ValueError as error:
            raise self._positions.mistake(at, f"{name}: {error}") from None
        raise self._wrong(f"expected a value for {name!r}, found {self._seen()}")

    def _take(self) -> Token:
        token = self._next
        if token.kind is not TokenKind.END:
            self._next = next(self._tokens)
            self._end = token.span[1]
        return token

    def _skip(self, symbol: str) -> bool:
        if self._next.kind is not TokenKind.SYMBOL or self._next.text != symbol:
            return False
        self._take()
        return True

    def _seen(self) -> str:
        return repr(self._next.text[:40]) if self._next.text else "the end of the file"

    def _wrong(self, message: str) -> Exception:
        return self._positions.mistake(self._next.span[0], message)


def _signed(value: int | float, *, negative: bool) -> int | float:
    if negative and isinstance(value, int) and value > 1 << 63:
        raise ValueError(f"below what 64 bits hold: -{value}")
    return -value if negative else value


def _named_value(name: str, *, negative: bool) -> Scalar:
    numbers = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}
    if name.lower() in numbers:
        return -numbers[name.lower()] if negative else numbers[name.lower()]
    if negative:
        raise ValueError(f"expected a number after '-', found {name!r}")
    return Identifier(name)
