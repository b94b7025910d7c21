"""Which weights of a detector can be pruned: its kernels, where they stand, and which of them a pattern chooses."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from types import MappingProxyType
from typing import Any

import tf_keras

from stages.core.base.errors import ParamsError
from stages.core.detectors.variables import list_detector_variables

NUM_NEAR = 3
NEARNESS = 0.3
"""How alike (0..1) a path must be to a pattern to be suggested: patterns are fragments, so not much."""


class KernelKind(StrEnum):
    """What a kernel computes, which is how it is stored."""

    CONVOLUTION = "convolution"
    """[height, width, in, out]."""
    DEPTHWISE = "depthwise"
    """[height, width, in, multiplier]."""
    TRANSPOSED = "transposed"
    """[height, width, out, in]."""
    DENSE = "dense"
    """[in, out]."""


LAYER_KERNELS: tuple[tuple[type, Mapping[str, KernelKind]], ...] = (
    # In Keras the special ones are subclasses of Conv2D: the first row that fits counts.
    (
        tf_keras.layers.SeparableConv2D,
        {"depthwise_kernel": KernelKind.DEPTHWISE, "pointwise_kernel": KernelKind.CONVOLUTION},
    ),
    (tf_keras.layers.DepthwiseConv2D, {"depthwise_kernel": KernelKind.DEPTHWISE}),
    (tf_keras.layers.Conv2DTranspose, {"kernel": KernelKind.TRANSPOSED}),
    (tf_keras.layers.Conv2D, {"kernel": KernelKind.CONVOLUTION}),
    (tf_keras.layers.Dense, {"kernel": KernelKind.DENSE}),
)

LEFT_DENSE: Mapping[str, str] = MappingProxyType(
    {
        r"/depthwise_kernel$": "depthwise: few weights, and one zero in 3x3 is a ninth of a channel",
        r"^backbone/layer_with_weights-0/": "first convolution: three input channels feed everything behind it",
        r"/_(classifier|box_regressor|mask_regressor)/": "a head's output: what it computes is scores and coordinates",
        r"/_squeeze_excitation/": "squeeze-excite: works on one pixel, so it costs next to nothing",
    }
)
"""Kernels that are pruned only when a pattern asks for them: regular expression over paths to reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel:
    """One weight tensor that can be pruned.

    Attributes:
      path: Path below the detector's parts, as its checkpoint and `result.json` have it, e.g.
        `backbone/layer_with_weights-7/_conv0/kernel`: the same in every process.
      variable: The tf.Variable.
      kind: What it computes.
    """

    path: str
    variable: Any
    kind: KernelKind

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(side) for side in self.variable.shape)

    @property
    def num_inputs(self) -> int:
        """Input channels that one output sees."""
        return self.shape[-1] if self.kind is KernelKind.TRANSPOSED else self.shape[-2]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How much is cut away, and in which grain.

    Attributes:
      sparsity: Share of zeros, between 0 and 1.
      block_size: (rows, columns) of weights that live or die together, in the kernel seen as a matrix of
        [height * width * in, out]; (1, 1) for single weights.
      m_by_n: (m, n): m zeros in every n weights side by side along the input channels; None for no such rule.
    """

    sparsity: float
    block_size: tuple[int, int] = (1, 1)
    m_by_n: tuple[int, int] | None = None

    @property
    def is_structured(self) -> bool:
        return self.m_by_n is not None or self.block_size != (1, 1)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which kernels are pruned: `pruned`, and of all others the path and the reason (`dense`)."""

    pruned: tuple[Kernel, ...]
    dense: dict[str, str]


def list_kernels(model: Any) -> tuple[Kernel, ...]:
    """Every convolution and dense kernel of a detector, in the order of its parts.

    Args:
      model: A Model Garden detector with all its variables (it has `checkpoint_items`).
    """
    kinds: dict[int, KernelKind] = {}
    for layer in model.submodules:
        table = next((kernels for kind, kernels in LAYER_KERNELS if isinstance(layer, kind)), {})
        kinds |= {id(getattr(layer, name)): kind for name, kind in table.items() if hasattr(layer, name)}
    return tuple(
        Kernel(path=path, variable=variable, kind=kinds[id(variable)])
        for path, variable in list_detector_variables(model).items()
        if id(variable) in kinds
    )


def choose_kernels(kernels: Sequence[Kernel], layers: Sequence[str] | None, pattern: Pattern) -> Choice:
    """Picks what is pruned.

    Args:
      kernels: All kernels of the model.
      layers: Regular expressions, searched for in paths; a kernel that any of them finds is chosen, whatever it is.
        None for every kernel that is worth it (see LEFT_DENSE).
      pattern: A kernel in which it cannot come out within a hundredth of the sparsity is left dense.

    Raises:
      ParamsError: if an expression finds nothing, or nothing is left to prune.
    """
    if layers is None:
        reasons = {kernel.path: _reason_to_leave(kernel.path) for kernel in kernels}
    else:
        _check_every_pattern_finds(kernels, layers)
        reasons = {
            kernel.path: None if any(re.search(layer, kernel.path) for layer in layers) else "not in prune.layers"
            for kernel in kernels
        }
    dense = {kernel.path: reasons[kernel.path] or explain_misfit(kernel, pattern) for kernel in kernels}
    pruned = tuple(kernel for kernel in kernels if dense[kernel.path] is None)
    if not pruned:
        first = next((f" ({path}: {reason})" for path, reason in dense.items() if not reasons[path]), "")
        raise ParamsError(f"params.yaml: prune: none of {len(kernels)} kernels can be pruned like this{first}")
    return Choice(pruned=pruned, dense={path: reason for path, reason in dense.items() if reason is not None})


def explain_misfit(kernel: Kernel, pattern: Pattern) -> str | None:
    """Why a kernel cannot have the pattern's sparsity; None if it can.

    The grain must divide the kernel, and be fine enough to come within a hundredth of the target.
    """
    if pattern.is_structured and kernel.kind in (KernelKind.DEPTHWISE, KernelKind.TRANSPOSED):
        return f"a structure is defined for convolution and dense kernels, this one is {kernel.kind}"
    if pattern.m_by_n is not None:
        group = pattern.m_by_n[1]
        return (
            None if kernel.num_inputs % group == 0 else f"{kernel.num_inputs} input channels are no multiple of {group}"
        )
    num_units = prod(kernel.shape)
    if pattern.is_structured:
        rows, columns = prod(kernel.shape[:-1]), kernel.shape[-1]
        height, width = pattern.block_size
        if kernel.num_inputs % height or columns % width or min(rows // height, columns // width) < 2:
            return (
                f"blocks of {height}x{width} do not tile {kernel.num_inputs} inputs x {columns} outputs twice each way"
            )
        num_units = (rows // height) * (columns // width)
    reached = 1 - max(round(num_units * (1 - pattern.sparsity)), 1) / num_units
    if abs(reached - pattern.sparsity) > 0.01:
        return f"{num_units} units are too few for {pattern.sparsity:.2f}: {reached:.3f} is the nearest"
    return None


def _reason_to_leave(path: str) -> str | None:
    return next((reason for expression, reason in LEFT_DENSE.items() if re.search(expression, path)), None)


def _check_every_pattern_finds(kernels: Sequence[Kernel], layers: Sequence[str]) -> None:
    paths = [kernel.path for kernel in kernels]
    for index, layer in enumerate(layers):
        if not any(re.search(layer, path) for path in paths):
            near = difflib.get_close_matches(layer, paths, n=NUM_NEAR, cutoff=NEARNESS) or paths[:NUM_NEAR]
            raise ParamsError(
                f"params.yaml: prune.layers[{index}]: {layer!r} finds none of the model's {len(paths)} kernels "
                f"(near: {', '.join(near)})"
            )
