"""What an inspection finds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """An input or output.

    Attributes:
      name: In its signature; tensor: as the graph calls it.
      shape: -1 where a side is not known; None where not even the rank is.
      dtype: numpy name.
      scale, zero_point: Of a quantized tensor with one of each.
    """

    name: str
    tensor: str
    shape: tuple[int, ...] | None
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class SignatureFacts:
    """Inputs and outputs under one name."""

    name: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


@dataclass(frozen=True, kw_only=True)
class OpFacts:
    """One kind of op or layer: how often, MACs, and whether it is `custom`, `flex` or `control flow` (else empty)."""

    op: str
    count: int
    special: str = ""
    macs: int | None = None


@dataclass(frozen=True, kw_only=True)
class WeightFacts:
    """Stored numbers of one type."""

    dtype: str
    tensors: int
    values: int


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What stands in the way of one target, and what can be done about it."""

    target: str
    what: str
    count: int
    advice: str


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """One model file.

    Attributes:
      kind: Format, by its bytes; size_bytes: with companions; sha256: of the file.
      numbers: What it computes in, by its bytes, e.g. `int8 weights, int8 activations`; empty where it has no layers.
      schemes: Names in the scheme table that its bytes do not contradict.
      signatures, ops, weights: As found.
      macs: Multiply-accumulates of one inference; None where shapes are not known.
      labels: Class names that the file carries.
      metadata: Other facts by name.
      obstacles: By target.
      notes: Sentences.
    """

    path: str
    kind: str
    size_bytes: int
    sha256: str
    numbers: str = ""
    schemes: tuple[str, ...] = ()
    signatures: tuple[SignatureFacts, ...] = ()
    ops: tuple[OpFacts, ...] = ()
    weights: tuple[WeightFacts, ...] = ()
    macs: int | None = None
    labels: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Kind of op to number."""
        return {row.op: row.count for row in self.ops}
