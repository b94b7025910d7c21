"""Changing single values of a text in protobuf's text format: every other byte stays, comments and unknown fields too.

A path names fields from the top, `model.ssd.num_classes`; of a repeated field, `[1]` picks the second.
"""

import re
from collections.abc import Sequence

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.textformat import Field, Message, Scalar, parse_text, print_scalar, print_text

_STEP = re.compile(r"(?P<name>\[[^\]]+\]|\w+)(?:\[(?P<index>\d+)\])?(?:\.|$)")


def set_value(text: str, path: str, value: Scalar | Message) -> str:
    """The text with the field at `path` set; a missing one is added at the end of its message, which may be new too.

    Raises:
      ForeignConfigError: if the text does not parse, a step of the path is no message, or it names several fields.
    """
    message, steps = parse_text(text), _steps(path)
    for depth, (name, index) in enumerate(steps):
        found = _pick(message, name, index, path)
        rest = steps[depth + 1 :]
        if found is None:
            for outer, _ in reversed(rest):
                value = Message((Field(outer, value),))
            return _insert(text, message, Field(name, value))
        if not rest:
            start, end = found.span
            return text[:start] + _render(text, start, value) + text[end:]
        if not isinstance(found.value, Message):
            raise ForeignConfigError(f"line {found.line}: {name} is no message, so there is no {path}")
        message = found.value
    raise ValueError(f"empty path: {path!r}")


def set_values(text: str, path: str, values: Sequence[Scalar | Message]) -> str:
    """The text with a repeated field set; where the number of values stays, each is replaced in place."""
    if len(find_fields(parse_text(text), path)) == len(values):
        for index, value in enumerate(values):
            text = set_value(text, f"{path}[{index}]", value)
        return text
    text = remove_field(text, path)
    outer, _, name = path.rpartition(".")
    for value in values:
        message = _message_at(text, outer)
        text = set_value(text, path, value) if message is None else _insert(text, message, Field(name, value))
    return text


def remove_field(text: str, path: str) -> str:
    """The text without the fields at `path` (all of a repeated one); comments beside them stay."""
    statements = {found.statement for found in find_fields(parse_text(text), path)}
    for start, end in sorted(statements, reverse=True):
        line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1
        alone = not text[line_start:start].strip() and line_end and not text[end:line_end].strip()
        text = text[:line_start] + text[line_end:] if alone else text[:start] + text[end:]
    return text


def find_fields(message: Message, path: str) -> list[Field]:
    """All fields at a path; none where a step is missing."""
    found: list[Field] = []
    for name, index in _steps(path):
        found = message.all(name)
        if index is not None:
            found = found[index : index + 1]
        if not found:
            return []
        message = found[0].value if isinstance(found[0].value, Message) else Message()
    return found


def _steps(path: str) -> list[tuple[str, int | None]]:
    steps, offset = [], 0
    while offset < len(path):
        match = _STEP.match(path, offset)
        if match is None:
            raise ValueError(f"not a path of fields: {path!r}")
        steps.append((match["name"], None if match["index"] is None else int(match["index"])))
        offset = match.end()
    return steps


def _pick(message: Message, name: str, index: int | None, path: str) -> Field | None:
    found = message.all(name)
    if index is not None:
        return found[index] if index < len(found) else None
    if len(found) > 1:
        lines = ", ".join(str(field.line) for field in found)
        raise ForeignConfigError(f"{path}: {name} is there {len(found)} times (lines {lines}): say which, as {name}[0]")
    return found[0] if found else None


def _message_at(text: str, path: str) -> Message | None:
    message = parse_text(text)
    if path:
        found = find_fields(message, path)
        return found[0].value if found and isinstance(found[0].value, Message) else None
    return message


def _render(text: str, at: int, value: Scalar | Message) -> str:
    """A value as it is written at a position in the text, its lines indented like the line it starts on."""
    if not isinstance(value, Message):
        return print_scalar(value)
    indent = len(_indent_of(text, at))
    return "{" + _newline(text) + _native(text, print_text(value, indent + 2)) + " " * indent + "}"


def _insert(text: str, message: Message, field: Field) -> str:
    """Adds a field at the end of a message: on lines of its own, or before the bracket of a one-line message."""
    end, newline = message.inside[1], _newline(text)
    is_file = end == len(text)
    line_start = text.rfind("\n", 0, end) + 1
    if is_file:
        lead = "" if not text or text.endswith("\n") else newline
        return text + lead + _native(text, print_text(Message((field,))))
    if text[line_start:end].strip():
        value = field.value
        written = f"{field.name} {_render(text, end, value)}" if isinstance(value, Message) else None
        written = written or f"{field.name}: {_render(text, end, value)}"
        space = "" if text[end - 1].isspace() else " "
        return f"{text[:end]}{space}{written} {text[end:]}"
    indent = len(_indent_of(text, message.fields[-1].statement[0] if message.fields else end))
    indent = indent if message.fields else indent + 2
    return text[:line_start] + _native(text, print_text(Message((field,)), indent)) + text[line_start:]


def _indent_of(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))].replace("\t", "  ")


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _native(text: str, added: str) -> str:
    return added.replace("\n", _newline(text))
