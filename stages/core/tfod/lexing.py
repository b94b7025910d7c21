"""Protobuf's text format, character by character: tokens with their positions, strings and numbers with their values.

Source: the language's specification, https://protobuf.dev/reference/protobuf/textformat-spec/.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from stages.core.base.errors import ForeignConfigError

Span = tuple[int, int]
"""Start and end of a piece of text, in characters from 0; the end is not part of it."""


class TokenKind(StrEnum):
    """What a token is."""

    NAME = "name"
    NUMBER = "number"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end of the file"


@dataclass(frozen=True)
class Token:
    """One token: its kind, the characters as written, and where they are."""

    kind: TokenKind
    text: str
    span: Span


_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n\f\v]+|\#[^\n]*)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)(?![A-Za-z0-9_.])
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<symbol>[{}<>\[\]:;,./-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\'\"?])|(.))", re.DOTALL
)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
BYTE_ORDER_MARK = "\ufeff"


class Positions:
    """The lines of a text, for messages."""

    def __init__(self, text: str, name: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._name = name

    def line(self, offset: int) -> int:
        """Number of the line (from 1) that holds a character."""
        return bisect_right(self._starts, offset)

    def mistake(self, offset: int, message: str) -> ForeignConfigError:
        """An error that names the file and the line."""
        return ForeignConfigError(f"{self._name}: line {self.line(offset)}: {message}")


def read_tokens(text: str, positions: Positions) -> Iterator[Token]:
    """Tokens without blanks and comments, and one `END` after the last.

    Raises:
      ForeignConfigError: at a character that starts no token, naming the line.
    """
    offset = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise positions.mistake(offset, _describe_stray(text, offset))
        if match.lastgroup != "blank":
            yield Token(TokenKind(str(match.lastgroup)), match.group(), match.span())
        offset = match.end()
    yield Token(TokenKind.END, "", (len(text), len(text)))


def _describe_stray(text: str, offset: int) -> str:
    line = text[offset:].split("\n", 1)[0]
    if line[0] in "\"'":
        return f"a string has no closing quote: {line[:40]}"
    if line[0].isdigit() or line[0] == ".":
        word = re.split(r"[\s,;:{}<>#]", line)[0]
        return f"not a number: {word[:40]!r}"
    return f"not protobuf text format: unexpected {line[0]!r}"


def unquote(literal: str) -> str:
    """The text that a quoted literal stands for; bytes that are no UTF-8 come as surrogates, as in `os.fsdecode`.

    Raises:
      ValueError: at an escape that the format does not have.
    """

    def replace(match: re.Match[str]) -> bytes:
        octal, digits, short, long, letter, unknown = match.groups()
        if unknown is not None:
            raise ValueError(f"no such escape: \\{unknown}")
        if octal or digits:
            code = int(octal, 8) if octal else int(digits, 16)
            if code > 255:
                raise ValueError(f"no such byte: \\{octal}")
            return bytes([code])
        if letter:
            return _LETTERS.get(letter, letter).encode()
        point = int(short or long, 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise ValueError(f"no such character: \\{'u' if short else 'U'}{short or long}")
        return chr(point).encode()

    body, parts, end = literal[1:-1], [], 0
    for match in _ESCAPE.finditer(body):
        parts += [body[end : match.start()].encode(errors="surrogateescape"), replace(match)]
        end = match.end()
    parts.append(body[end:].encode(errors="surrogateescape"))
    return b"".join(parts).decode(errors="surrogateescape")


def read_number(literal: str) -> int | float:
    """The value of an unsigned number: decimal, octal (`017`), hexadecimal, or a float (`1.`, `.5`, `1e-8`, `2f`).

    Raises:
      ValueError: if it is no octal number though it starts like one, or is larger than 64 bits hold.
    """
    if literal[:2] in ("0x", "0X"):
        value = int(literal, 16)
    elif not literal.isdigit():
        return float(literal.rstrip("fF"))
    elif len(literal) > 1 and literal[0] == "0":
        if set(literal) & {"8", "9"}:
            raise ValueError(f"not an octal number: {literal}")
        value = int(literal, 8)
    else:
        value = int(literal) if len(literal) <= 20 else 1 << 64
    if value >= 1 << 64:
        raise ValueError(f"larger than 64 bits: {literal[:40]}")
    return value
