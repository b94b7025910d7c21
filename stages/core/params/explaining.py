"""A mistake in params.yaml, told in one line that names the key and what is allowed."""

import difflib
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, prefix: tuple[str, ...], section: type[BaseModel]) -> str:
    """The first mistake of a ValidationError as `key[2].sub: what is wrong`, with the known keys for a misspelt one."""
    first = _most_telling(error)
    loc = (*prefix, *(part for part in first["loc"] if not _is_union_branch(part)))
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    if first["type"] == "extra_forbidden":
        known = sorted(known_keys(section, first["loc"][:-1]))
        wrong = str(first["loc"][-1])
        near = difflib.get_close_matches(wrong, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: unknown key{hint} (known: {', '.join(known)})"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message} (found {first['input']!r})"


def key_path(error: ValidationError) -> tuple[int | str, ...]:
    """The keys that lead to the mistake that `explain` tells."""
    return tuple(part for part in _most_telling(error)["loc"] if not _is_union_branch(part))


def _is_union_branch(part: int | str) -> bool:
    """Whether a part of a pydantic location names a branch of a union or a mapping's key, not a key of params.yaml."""
    return isinstance(part, str) and (part in ("str", "[key]") or part.startswith("dict["))


def _most_telling(error: ValidationError) -> Any:
    """The first mistake; where a union was tried branch by branch, not merely that the value has another type."""
    mistakes = error.errors()
    branches = [mistake for mistake in mistakes if mistake["type"] not in ("string_type", "dict_type")]
    return (branches or mistakes)[0]


def known_keys(section: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Keys that `section` knows at a path inside it."""
    current: Any = section
    for part in loc:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        elif isinstance(current, type) and issubclass(current, BaseModel):
            current = next((f.annotation for n, f in current.model_fields.items() if part in (n, f.alias)), None)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]
