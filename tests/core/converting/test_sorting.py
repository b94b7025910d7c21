"""Fast searches in OpenVINO models: what NumPy's stable sort finds."""

import numpy as np
import openvino as ov
import openvino.properties.hint as hints
import pytest
from openvino import opset11

from stages.core.converting.sorting import MOST, speed_up_searches


def search(num: int, k: int, *, mode: str = "max", sort: str = "value", rank: int = 1) -> ov.Model:
    """A model of one stable search along the last axis."""
    values = opset11.parameter([1] * (rank - 1) + [num], np.float32, name="values")
    found = opset11.topk(values, opset11.constant(np.int32(k)), rank - 1, mode, sort, "i32", stable=True)
    return ov.Model(found.outputs(), [values], "search")


def run(model: ov.Model, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    compiled = ov.Core().compile_model(model, "CPU", {hints.inference_precision(): ov.Type.f32})
    result = compiled(values)
    return result[0], result[1]


def is_stable(model: ov.Model) -> list[bool]:
    return [node.get_attributes()["stable"] for node in model.get_ops() if node.get_type_name() == "TopK"]


@pytest.mark.parametrize("levels", [1, 2, 30, 10**6], ids=lambda levels: f"{levels}_different_values")
@pytest.mark.parametrize(("num", "k"), [(1, 1), (5, 1), (5, 4), (7, 7), (3000, 1000), (20_000, 5000), (20_000, 20_000)])
def test_equal_values_come_in_their_order(num: int, k: int, levels: int) -> None:
    values = np.random.default_rng(num + levels).integers(0, levels, num).astype(np.float32) / levels - 0.4
    model = search(num, k)
    speed_up_searches(model)
    assert not any(is_stable(model))
    best, indices = run(model, values)
    expected = np.argsort(-values, kind="stable")[:k]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(best, values[expected])
    assert indices.dtype == np.int32


@pytest.mark.parametrize(
    "model",
    [search(9, 3, mode="min"), search(9, 3, sort="index"), search(9, 3, rank=2), search(MOST + 5, MOST + 1)],
    ids=["smallest", "by_index", "two_axes", "too_many"],
)
def test_other_searches_stay_as_they_are(model: ov.Model) -> None:
    speed_up_searches(model)
    assert is_stable(model) == [True]
