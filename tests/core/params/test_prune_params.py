"""`prune:` of params.yaml: what cannot work is refused in one line with the key, the value and what is allowed."""

from typing import Any

import pytest

from stages.core.base.errors import ParamsError
from stages.core.params.refining import PruneParams
from stages.core.params.tree import parse_params

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "sparsity-0": ({"target_sparsity": 0}, r"prune\.target_sparsity: .*greater than 0 \(found 0\)"),
    "sparsity-1": ({"target_sparsity": 1.0}, r"prune\.target_sparsity: .*less than 1 \(found 1\.0\)"),
    "sparsity-percent": ({"target_sparsity": 50}, r"prune\.target_sparsity: .*less than 1 \(found 50\)"),
    "sparsity-negative": ({"target_sparsity": -0.5}, r"prune\.target_sparsity: .*greater than 0 \(found -0\.5\)"),
    "sparsity-nan": ({"target_sparsity": float("nan")}, r"prune\.target_sparsity: .*\(found nan\)"),
    "end-before-begin": ({"begin_step": 50, "end_step": 20}, r"prune: end_step 20 must be above begin_step 50"),
    "end-at-begin": ({"begin_step": 20, "end_step": 20}, r"prune: end_step 20 must be above begin_step 20"),
    "end-after-steps": ({"steps": 100, "end_step": 200}, r"prune: end_step 200 must be at most steps 100"),
    "begin-negative": ({"begin_step": -1}, r"prune\.begin_step: .*greater than or equal to 0 \(found -1\)"),
    "frequency": ({"frequency": 0}, r"prune\.frequency: .*greater than 0 \(found 0\)"),
    "schedule": ({"sparsity_schedule": "linear"}, r"prune\.sparsity_schedule: .*'polynomial' or 'constant'.*'linear'"),
    "initial": ({"initial_sparsity": 0.9}, r"initial_sparsity 0\.9 must be at most target_sparsity 0\.5"),
    "two-structures": (
        {"m_by_n": [2, 4], "block_size": [4, 1]},
        r"m_by_n \[2, 4\] and block_size \[4, 1\]: set one of them to null",
    ),
    "m-above-n": ({"m_by_n": [4, 2]}, r"m_by_n \[4, 2\]: the first number must be below the second"),
    "m-by-n-sparsity": ({"m_by_n": [1, 4]}, r"m_by_n \[1, 4\] makes a sparsity of 0\.25, target_sparsity is 0\.5"),
    "block": ({"block_size": [0, 4]}, r"prune\.block_size\[0\]: .*greater than 0 \(found 0\)"),
    "pooling": ({"block_pooling": "SUM"}, r"prune\.block_pooling: .*'AVG' or 'MAX'"),
    "expression": ({"layers": ["head/.*", "backbone/(("]}, r"prune\.layers: 'backbone/\(\(' is no regular expression"),
    "no-expression": ({"layers": []}, r"prune\.layers: .*at least 1 item"),
    "unknown": ({"sparsity": 0.5}, r"prune\.sparsity: unknown key; did you mean 'target_sparsity'\? \(known: "),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_one_line(case: str) -> None:
    section, says = BAD[case]
    with pytest.raises(ParamsError, match=says) as caught:
        parse_params({"models": ["retinanet_mobiledet_tiny"], "schemes": ["int8"], "prune": section})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("params.yaml: prune")


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_a_sweep_needs_one_key(sparsity: float) -> None:
    assert PruneParams(target_sparsity=sparsity).target_sparsity == sparsity
