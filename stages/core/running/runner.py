"""`Runner`: what every runtime looks like from outside."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from stages.core.processing.detections import Detections
from stages.core.results.interface import Interface


class Runner(Protocol):
    """One model file, opened in its runtime, here or in another process."""

    @property
    def interface(self) -> Interface: ...

    @property
    def runtime(self) -> str:
        """Name and version, e.g. `ai-edge-litert 2.3.0`."""
        ...

    @property
    def delegate(self) -> str:
        """What computes inside the runtime, e.g. `XNNPACK`; `none` for the runtime's own kernels."""
        ...

    @property
    def outputs(self) -> Mapping[str, np.ndarray]:
        """The graph's outputs of the last run, by signature name, batch dimension kept."""
        ...

    @property
    def raw_outputs(self) -> Mapping[str, np.ndarray]:
        """Head outputs of the last run as float32, by name in `Interface.raw_outputs`; empty unless opened for it."""
        ...

    def run(self, image: np.ndarray) -> Detections:
        """Pre-processing, inference and decoding of one image: uint8 [height, width, 3], RGB.

        Raises:
          InferenceError: if the runtime fails on it.
        """
        ...


class OpenRunner(Runner, Protocol):
    """A runner in this process, whose bare inference can be timed."""

    @property
    def slow_ops(self) -> Mapping[str, int]:
        """Kind to number of the ops that run outside the fast path (`delegate`)."""
        ...

    def infer(self, tensor: np.ndarray) -> Mapping[str, np.ndarray]:
        """One inference on an input tensor that follows the interface: nothing but the runtime is timed here."""
        ...


def first_line(error: Exception) -> str:
    """The part of a runtime's message that fits into one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
