"""A config compared with the table of messages: a misspelt field is told, as the API would tell it."""

import difflib
from collections.abc import Iterator

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.messages import MESSAGES, TOP
from stages.core.tfod.textformat import Field, Message


def check_fields(message: Message, name: str, kind: str = TOP, path: str = "") -> None:
    """Compares a parsed config with `MESSAGES`.

    Args:
      name: The file, for messages.
      kind, path: What `message` is and where.

    Raises:
      ForeignConfigError: for a field that the API does not have (with the nearest and all known ones), one that is
        there twice, and a value where a message is expected or the other way round.
    """
    known = _known(kind)
    for field in message.fields:
        where = f"{name}: line {field.line}: {path}{field.name}"
        if field.name.startswith("["):
            continue
        if field.name not in known:
            near = difflib.get_close_matches(field.name, list(known), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ForeignConfigError(
                f"{where}: unknown field{hint} (known: {', '.join(sorted(known))}; --ignore-unknown lists it instead)"
            )
        repeated, inner = known[field.name]
        same = message.all(field.name)
        if not repeated and len(same) > 1:
            raise ForeignConfigError(
                f"{where}: is there twice, again on line {same[1].line}; it is not a repeated field"
            )
        if inner and not isinstance(field.value, Message):
            raise ForeignConfigError(f"{where}: expected `{field.name} {{ ... }}`, found a single value")
        if isinstance(field.value, Message) and inner:
            check_fields(field.value, name, inner, f"{path}{field.name}.")


def without_unknown(message: Message, kind: str = TOP, path: str = "") -> tuple[Message, list[tuple[str, Field]]]:
    """A parsed config without the fields that are not in `MESSAGES`; and those, with their paths."""
    known, kept, unknown = _known(kind), [], []
    for field in message.fields:
        if field.name not in known and not field.name.startswith("["):
            unknown.append((f"{path}{field.name}", field))
            continue
        inner = known.get(field.name, (False, ""))[1]
        if inner and isinstance(field.value, Message):
            value, within = without_unknown(field.value, inner, f"{path}{field.name}.")
            unknown += within
            field = Field(field.name, value, field.line, field.span, field.statement)
        kept.append(field)
    return Message(tuple(kept), message.inside), unknown


def leaves(message: Message, path: str = "") -> Iterator[tuple[str, Field]]:
    """Every single value, and every empty message, with its path."""
    for field in message.fields:
        if isinstance(field.value, Message) and field.value.fields:
            yield from leaves(field.value, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", field


def _known(kind: str) -> dict[str, tuple[bool, str]]:
    """Field to (repeated, type in `MESSAGES` or nothing)."""
    known = {}
    for entry in MESSAGES[kind].split():
        name, _, inner = entry.removeprefix("*").partition(":")
        known[name] = (entry.startswith("*"), inner)
    return known
