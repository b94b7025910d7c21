"""Which ops of a graph were replaced, and how exactly."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Substitution:
    """One kind of op that a runtime lacks and that was replaced in a model's graph (`proof.json`).

    Attributes:
      op: Kind of the op in the original graph.
      by: What computes it now, in a few words.
      count: How many nodes.
      error: Greatest absolute difference between the outputs of the original nodes and those of what replaces them, on
        the same images of noise, float32 in TensorFlow; None where it was not measured (inside of loops and functions).
    """

    op: str
    by: str
    count: int
    error: float | None = None
