"""What a config has said so far: the parameters, and which field each of them came from."""

from dataclasses import dataclass
from typing import Any

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.editing import find_fields
from stages.core.tfod.families import Counterpart
from stages.core.tfod.schema import leaves
from stages.core.tfod.textformat import Field, Identifier, Message, Scalar, print_scalar

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"
"""What the API's sample configs have instead of paths."""
TRUTH = {"true": True, "True": True, "t": True, "1": True, "false": False, "False": False, "f": False, "0": False}
Key = tuple[str, tuple[int, int]]
"""A leaf of the config: its path and the span of its value."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """One field that became a parameter.

    Attributes:
      path, line: The field; line 0 for one that is not in the file, whose default counts.
      given: Its value as text; empty for a message.
      parameter: Dotted key of params.yaml.
      value: What stands there now.
      note: How the two differ; empty if they say the same.
    """

    path: str
    line: int
    given: str
    parameter: str
    value: Any
    note: str = ""


class ConfigConversion:
    """The parsed config, read field by field; and what was made of it.

    Attributes:
      message, name: The config and its file, for messages.
      counterpart: The model's row.
      tree: Parameters so far, as params.yaml has them.
      uses: Fields that became parameters, in the order in which they were read.
      excused: Fields that cannot be honoured for a reason that depends on their value.
    """

    def __init__(self, message: Message, name: str, counterpart: Counterpart) -> None:
        self.message = message
        self.name = name
        self.counterpart = counterpart
        self.tree: dict[str, Any] = {}
        self.uses: list[Use] = []
        self.excused: dict[Key, str] = {}
        self._used: set[Key] = set()

    def find(self, path: str) -> Field | None:
        """The first field at a path."""
        found = find_fields(self.message, path)
        return found[0] if found else None

    def one_of(self, path: str, names: tuple[str, ...] = ()) -> str:
        """Name of the single message within the one at `path`; empty if there is none.

        Raises:
          ForeignConfigError: if there are two of them.
        """
        outer = self.find(path)
        inner = outer.value.fields if outer and isinstance(outer.value, Message) else ()
        found = [field for field in inner if isinstance(field.value, Message) and (not names or field.name in names)]
        if len(found) > 1:
            raise self.mistake(found[1], path, f"{found[0].name} and {found[1].name}: only one of them may be there")
        return found[0].name if found else ""

    def number(self, path: str, default: float) -> float:
        """A number of any kind."""
        value: float = self._scalar(path, default, (int, float), "a number")
        return value

    def integer(self, path: str, default: int) -> int:
        """A whole number."""
        value: int = self._scalar(path, default, (int,), "a whole number")
        return value

    def flag(self, path: str, default: bool) -> bool:
        """true or false."""
        field = self.find(path)
        if field is None:
            return default
        text = "" if isinstance(field.value, Message) else print_scalar(field.value)
        if text not in TRUTH:
            raise self._unexpected(field, path, "true or false")
        return TRUTH[text]

    def text(self, path: str, default: str = "") -> str:
        """A text in quotes."""
        value: str = self._scalar(path, default, (str,), "a text in quotes")
        return value

    def numbers(self, path: str) -> list[float]:
        """A repeated number."""
        fields = find_fields(self.message, path)
        for field in fields:
            if not isinstance(field.value, int | float):
                raise self._unexpected(field, path, "a number")
        return [float(field.value) for field in fields if isinstance(field.value, int | float)]

    def _scalar(self, path: str, default: Any, kinds: tuple[type, ...], expected: str) -> Any:
        field = self.find(path)
        if field is None:
            return default
        if not isinstance(field.value, kinds):
            raise self._unexpected(field, path, expected)
        return field.value

    def give(
        self, path: str, parameter: str, value: Any, note: str = "", *, write: bool = True, whole: bool = False
    ) -> None:
        """Sets a parameter from all that stands at `path`.

        Args:
          path: The field; if there is none, its default in the API counts. Of a message, the fields within are not
            counted as used.
          parameter: Dotted key; `train.` stands for the section of the config's row.
          write: False where the parameter has this value anyway.
          whole: Whether the fields within a message are used with it.
        """
        keys = parameter.split(".")
        if keys[0] == "train":
            keys.insert(1, self.counterpart.row)
        if write:
            section = self.tree
            for key in keys[:-1]:
                section = section.setdefault(key, {})
            section[keys[-1]] = value
        field = self.find(path)
        given = print_value(field.value) if field else ""
        line = field.line if field else 0
        use = Use(path=path, line=line, given=given, parameter=".".join(keys), value=value, note=note)
        self.uses.append(use)
        if whole or not (field and isinstance(field.value, Message) and field.value.fields):
            self._used |= self._keys(path)

    def excuse(self, path: str, reason: str) -> None:
        """Says why a field is not honoured."""
        self.excused |= dict.fromkeys(self._keys(path) - self._used, reason)

    def left_over(self) -> list[tuple[str, Field]]:
        """Leaves of the config that became no parameter."""
        return [(path, field) for path, field in leaves(self.message) if (path, field.span) not in self._used]

    def mistake(self, field: Field, path: str, text: str) -> ForeignConfigError:
        """An error at a field."""
        return ForeignConfigError(f"{self.name}: line {field.line}: {path}: {text}")

    def _unexpected(self, field: Field, path: str, expected: str) -> ForeignConfigError:
        found = print_value(field.value) or "a message"
        return self.mistake(field, path, f"expected {expected}, found {found}")

    def _keys(self, path: str) -> set[Key]:
        plain, keys = _without_indices(path), set()
        for field in find_fields(self.message, path):
            if isinstance(field.value, Message) and field.value.fields:
                keys |= {(inner, leaf.span) for inner, leaf in leaves(field.value, f"{plain}.")}
            else:
                keys.add((plain, field.span))
        return keys


def print_value(value: Scalar | Message) -> str:
    """A value as text; nothing for a message."""
    return "" if isinstance(value, Message) else print_scalar(value)


def _without_indices(path: str) -> str:
    return ".".join(step.split("[")[0] for step in path.split("."))


def is_placeholder(path: str) -> bool:
    """Whether a path is one that the samples leave to be filled in."""
    return PLACEHOLDER in path


def symbol(value: Scalar | Message) -> str:
    """The name of an enumeration's value."""
    return value.name if isinstance(value, Identifier) else print_value(value)
