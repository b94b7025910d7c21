"""`brought`: what is refused, in one line that says what to write instead."""

from typing import Any

import pytest

from stages.core.base.errors import ParamsError
from stages.core.params.needed import why_not_needed
from stages.core.params.tree import merge_trees, parse_params
from stages.core.results.kinds import Variant
from tests.frozen_builder import section

GOOD = section("models/brought/it.pb")


def parse(entry: dict[str, Any], name: str = "it", **changes: Any) -> Any:
    tree = {"models": [name], "schemes": ["float32"], "brought": {name: entry}, "train": {name: {}}}
    return parse_params(merge_trees(tree, changes))


def test_a_brought_model_is_a_row() -> None:
    params = parse(GOOD, gate={"floors": {"it": {"box_ap": 20}}})
    assert params.models == ("it",)
    assert all("nothing is trained" in why_not_needed(params, "it", variant) for variant in Variant)
    assert params.brought["it"].input.means == (127.5, 127.5, 127.5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"path": "/data/it.pb"}, "'/data/it.pb' is not below models/brought/.*dvc add models/brought/it.pb"),
        ({"path": "models/brought/../it.pb"}, "is not below models/brought/"),
        ({"path": "models/it.pb"}, "is not below models/brought/"),
        ({"labels": "labels.txt"}, "'labels.txt' is not below models/brought/"),
        ({"labels": []}, "labels"),
        ({"kind": "onnx"}, "kind: .*'frozen_graph'"),
        ({"layout": "boxes"}, "layout: .*'raw_heads'"),
        (
            {"outputs": {"boxes": "a", "scores": "b"}},
            "layout raw_heads has boxes, scores, anchors .found boxes, scores",
        ),
        ({"input": GOOD["input"] | {"deviation": 0}}, "numbers above 0"),
        ({"input": GOOD["input"] | {"size": [0, 64]}}, "input.size"),
        ({"input": {"name": "a", "size": [64, 64], "deviation": 1}}, "mean: Field required"),
        ({"outptus": {}}, "outptus"),
    ],
    ids=str,
)
def test_a_bad_entry_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=says) as caught:
        parse({**GOOD, **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("maskrcnn_tiny", {}, "is a row of the detector table"),
        ("my-model", {}, "letters, digits and _"),
        ("it", {"models": ["its"]}, "unknown model 'its'; did you mean 'it'"),
        ("it", {"train": {"it": {"steps": 3}}}, "it: a brought model is not trained"),
        ("it", {"gate": {"floors": {"its": {}}}}, "gate.floors: unknown model 'its'; did you mean 'it'"),
    ],
)
def test_names_and_trainings(name: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        parse(GOOD, name, **changes)
