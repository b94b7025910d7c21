"""What `export` found out about a brought file (`brought.json`): which schemes apply hangs on it."""

from dataclasses import dataclass, field
from pathlib import Path

from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import BROUGHT_FILE
from stages.core.results.substitution import Substitution


@dataclass(frozen=True, kw_only=True)
class BroughtFacts:
    """One brought file.

    Attributes:
      kind: As in params.yaml.
      sha256: Of the file.
      num_fake_quant: How many nodes of its graph simulate rounding.
      no_uint8: Why no finished uint8 file was made; empty if one was, or there are no such nodes.
      finished: File name of a model that is used as it is, where it is one; empty for a graph that is converted.
      numbers: Of a finished file: the types that its weights are stored in and its layers compute in.
      is_float: Whether all of those are float32: then other files can be made of it.
      takes_pixels: Whether its input holds pixels as they are.
      names: Names that the input and outputs have in a graph that is converted, by their names here.
      substitutions: Ops that were replaced because a runtime lacks them.
      notes: What a reader of the results should know.
    """

    kind: str
    sha256: str
    num_fake_quant: int = 0
    no_uint8: str = ""
    finished: str = ""
    numbers: str = ""
    is_float: bool = False
    takes_pixels: bool = True
    names: dict[str, str] = field(default_factory=dict)
    substitutions: tuple[Substitution, ...] = ()
    notes: tuple[str, ...] = ()


def write_brought_facts(facts: BroughtFacts, folder: Path) -> None:
    """Writes `brought.json` into an exported folder."""
    write_json(facts, folder / BROUGHT_FILE)


def read_brought_facts(folder: Path) -> BroughtFacts | None:
    """What an exported folder says; None for a model of our own."""
    path = folder / BROUGHT_FILE
    return read_json(BroughtFacts, path) if path.is_file() else None
