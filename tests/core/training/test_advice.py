"""What a training's curves say should be tried next: one finding each, the first that holds."""

from typing import Any

import pytest

from stages.core.results.history import History
from stages.core.training.advice import advise


def history(
    *, steps: int = 500, loss: float = 1.0, val_loss: float | None = None, ap: tuple[float, ...] = (50.0,)
) -> History:
    """A finished training with evaluations evenly spaced over its steps."""
    train = tuple({"step": float(step), "total_loss": loss} for step in range(5, steps + 1, 5))
    spacing = steps / len(ap)
    validation = tuple(
        {"step": spacing * (number + 1), "box_ap": value, "validation_loss": val_loss}
        for number, value in enumerate(ap)
    )
    return History(train=train, validation=validation)


CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "a class without objects": ({"steps": 20}, ["platelets", "dust"], ["platelets, dust: no object in train"]),
    "hardly begun": ({"steps": 20}, [], ["only 20 steps", "max_minutes"]),
    "past its best": ({"ap": (40.0, 55.0, 52.0)}, [], ["fell from 55.0", "52.0", "fewer steps"]),
    "still rising": ({"ap": (40.0, 50.0, 55.0)}, [], ["from 50.0 to 55.0", "more steps"]),
    "overfitted": ({"val_loss": 2.0}, [], ["2.00 on val, 1.00 in training", "color_jitter"]),
    "not learned by heart": ({"val_loss": 1.05}, [], ["1.05 on val", "more steps"]),
    "in between": ({"val_loss": 1.3, "ap": (55.0, 55.2)}, [], ["nothing stands out"]),
    "no loss on val": ({"val_loss": None}, [], ["nothing stands out"]),
    "Model Garden's zero for a loss it does not compute": ({"val_loss": 0.0}, [], ["nothing stands out"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_finding_is_said(case: str) -> None:
    curves, empty, expected = CASES[case]
    line = advise(history(**curves), empty, "train.retinanet_mobiledet_cpu")
    assert line.startswith("next: ")
    assert "\n" not in line
    for part in expected:
        assert part in line


def test_masks_count_where_there_are_any() -> None:
    rising = tuple({"step": 100.0 * n, "box_ap": 50.0, "mask_ap": 40.0 + 5 * n} for n in (1, 2))
    line = advise(History(train=history().train, validation=rising), [], "train.maskrcnn_tiny")
    assert "from 45.0 to 50.0" in line


def test_nothing_trained_is_no_crash() -> None:
    assert advise(History(), [], "train.x").startswith("next: only 0 steps")
