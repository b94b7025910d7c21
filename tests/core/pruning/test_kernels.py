"""Which kernels a detector has, which of them are pruned, and what is said of a pattern that finds nothing."""

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

from stages.core.base.errors import ParamsError
from stages.core.detectors.build import build_model, register_experiments
from stages.core.pruning.kernels import Kernel, KernelKind, Pattern, choose_kernels, explain_misfit, list_kernels
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow

HALF = Pattern(sparsity=0.5)


@pytest.fixture(scope="module", params=["retinanet_mobiledet_tiny", "maskrcnn_tiny"])
def model(request: pytest.FixtureRequest) -> Any:
    register_experiments()
    return build_model(experiment(request.param))


def kernel(*shape: int, kind: KernelKind = KernelKind.CONVOLUTION, path: str = "backbone/a/kernel") -> Kernel:
    return Kernel(path=path, variable=np.zeros(shape, np.float32), kind=kind)


def test_every_weight_matrix_of_a_detector_is_listed(model: Any) -> None:
    kernels = list_kernels(model)
    wanted = {id(variable) for variable in model.trainable_variables if variable.shape.rank >= 2}
    assert {id(kernel.variable) for kernel in kernels} == wanted
    assert len({kernel.path for kernel in kernels}) == len(kernels)
    for kernel in kernels:
        is_depthwise = kernel.path.endswith("depthwise_kernel")
        assert (kernel.kind is KernelKind.DEPTHWISE) == is_depthwise
        assert (kernel.kind is KernelKind.TRANSPOSED) == ("_deconv" in kernel.path)
        assert (kernel.kind is KernelKind.DENSE) == (len(kernel.shape) == 2)


def test_by_default_what_costs_is_pruned(model: Any) -> None:
    choice = choose_kernels(list_kernels(model), None, HALF)
    for path, reason in choice.dense.items():
        rules = {"depthwise_kernel": "depthwise", "layer_with_weights-0": "first", "classifier": "output"}
        rules |= {"regressor": "output"}
        assert any(part in path and why in reason for part, why in rules.items()), f"{path}: {reason}"
    assert {kernel.path for kernel in choice.pruned} | set(choice.dense) == {k.path for k in list_kernels(model)}
    share = sum(np.prod(kernel.shape) for kernel in choice.pruned)
    assert share / sum(np.prod(kernel.shape) for kernel in list_kernels(model)) > 0.75


def test_expressions_choose_whatever_they_find() -> None:
    kernels = [
        kernel(3, 3, 3, 8, path="backbone/layer_with_weights-0/_conv0/kernel"),
        kernel(1, 1, 8, 8, path="backbone/layer_with_weights-1/_conv0/kernel"),
        kernel(3, 3, 64, 1, path="head/a/depthwise_kernel", kind=KernelKind.DEPTHWISE),
        kernel(64, 4, path="head/_classifier/kernel", kind=KernelKind.DENSE),
    ]
    choice = choose_kernels(kernels, ["weights-0/", "^head/"], HALF)
    assert [kernel.path for kernel in choice.pruned] == [kernels[0].path, kernels[2].path, kernels[3].path]
    assert choice.dense == {kernels[1].path: "not in prune.layers"}


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (
            ["_conv0", "bakbone/layer_with_weights-1/_conv0"],
            r"layers\[1\]: 'bakbone/\S+' finds none of the model's 2 kernels \(near: backbone/layer_with_weights-1/",
        ),
        (["zzz"], r"prune\.layers\[0\]: 'zzz' finds none .*near: backbone/layer_with_weights-1"),
    ],
)
def test_an_expression_that_finds_nothing_is_a_mistake(layers: list[str], says: str) -> None:
    kernels = [
        kernel(1, 1, 8, 8, path="backbone/layer_with_weights-1/_conv0/kernel"),
        kernel(1, 1, 8, 8, path="head/_convs/0/kernel"),
    ]
    with pytest.raises(ParamsError, match=says) as caught:
        choose_kernels(kernels, layers, HALF)
    assert "\n" not in str(caught.value)


def test_nothing_to_prune_is_a_mistake() -> None:
    with pytest.raises(ParamsError, match=r"none of 1 kernels can be pruned like this \(backbone/a/kernel: 6 input"):
        choose_kernels([kernel(1, 1, 6, 8)], None, Pattern(sparsity=0.5, m_by_n=(2, 4)))


@dataclass(frozen=True)
class Fit:
    id: str
    shape: tuple[int, ...]
    pattern: Pattern
    says: str | None = None
    kind: KernelKind = field(default=KernelKind.CONVOLUTION)


BLOCKS = Pattern(sparsity=0.5, block_size=(4, 2))
FITS = [
    Fit("single", (3, 3, 8, 8), HALF),
    Fit("single-depthwise", (3, 3, 64, 1), HALF, kind=KernelKind.DEPTHWISE),
    Fit("too-coarse", (1, 1, 2, 5), Pattern(sparsity=0.33), "10 units are too few for 0.33: 0.300 is the nearest"),
    Fit("2-by-4", (1, 1, 8, 6), Pattern(sparsity=0.5, m_by_n=(2, 4))),
    Fit("2-by-4-inputs", (1, 1, 6, 8), Pattern(sparsity=0.5, m_by_n=(2, 4)), "6 input channels are no multiple of 4"),
    Fit("2-by-4-depthwise", (3, 3, 8, 1), Pattern(sparsity=0.5, m_by_n=(2, 4)), "this one is depthwise",
        KernelKind.DEPTHWISE),
    Fit("block", (3, 3, 8, 8), BLOCKS),
    Fit("block-dense", (64, 32), BLOCKS, kind=KernelKind.DENSE),
    Fit("block-across-taps", (2, 2, 6, 8), BLOCKS, "blocks of 4x2 do not tile 6 inputs x 8 outputs"),
    Fit("block-once", (1, 1, 16, 2), BLOCKS, "do not tile 16 inputs x 2 outputs twice each way"),
    Fit("block-coarse", (1, 1, 8, 6), Pattern(sparsity=0.4, block_size=(4, 2)), "6 units are too few"),
    Fit("block-transposed", (2, 2, 8, 8), BLOCKS, "this one is transposed", KernelKind.TRANSPOSED),
]  # fmt: skip


@pytest.mark.parametrize("case", FITS, ids=attrgetter("id"))
def test_a_kernel_that_would_miss_the_target_says_why(case: Fit) -> None:
    reason = explain_misfit(kernel(*case.shape, kind=case.kind), case.pattern)
    assert reason is None if case.says is None else case.says in str(reason)
