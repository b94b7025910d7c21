"""Which input size a training step has, and that trainings read, learn and go on at several."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import prepare, train
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.detectors.as_written import as_written
from stages.core.detectors.training_config import MultiScaleConfig
from stages.core.results.history import read_history
from stages.core.results.training import TrainResult
from stages.core.training import tasks
from stages.core.training.multi_scale import SizePlan, count_caches

pytestmark = pytest.mark.slow

SMALL, MIDDLE, FULL = (64, 64), (64, 128), (128, 128)
STEPS = 20


def plan(order: str, others: Any = (MIDDLE, SMALL), final_share: float = 0.5, seed: int = 0) -> SizePlan:
    return SizePlan(input_size=FULL, others=others, order=order, final_share=final_share, seed=seed)


@pytest.mark.parametrize(
    ("share", "size"),
    [(0.0, SMALL), (0.24, SMALL), (0.26, MIDDLE), (0.49, MIDDLE), (0.5, FULL), (0.9, FULL), (1.0, FULL)],
)
def test_sizes_grow_in_equal_shares_whatever_their_order(share: float, size: tuple[int, int]) -> None:
    assert plan("growing").size_at(7, share) == size
    assert plan("growing", others=(SMALL, MIDDLE)).size_at(3, share) == size


@pytest.mark.parametrize("order", ["growing", "random"])
def test_without_other_sizes_there_is_one(order: str) -> None:
    assert {plan(order, others=()).size_at(step, share) for step in range(9) for share in (0.0, 0.4, 1.0)} == {FULL}


def test_random_sizes_are_about_equally_frequent_and_end_in_time() -> None:
    counts = Counter(plan("random").size_at(step, 0.3) for step in range(0, 3000, 5))
    assert set(counts) == {SMALL, MIDDLE, FULL}
    assert min(counts.values()) > 150
    assert {plan("random").size_at(step, 0.5) for step in range(100)} == {FULL}
    drawn = [plan("random", seed=seed).size_at(step, 0.1) for seed in (0, 0, 1) for step in range(20)]
    assert drawn[:20] == drawn[20:40] != drawn[40:]


def test_without_a_final_share_random_sizes_go_on_to_the_end() -> None:
    assert {plan("random", final_share=0.0).size_at(step, 0.99) for step in range(50)} == {SMALL, MIDDLE, FULL}


@pytest.mark.parametrize(("order", "caches"), [("growing", 1), ("random", 3)])
def test_memory_counts_every_pipeline_that_holds_images(order: str, caches: int) -> None:
    assert count_caches(MultiScaleConfig(heights=[64, 64], widths=[64, 128], order=order)) == caches


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("multi_scale")
    write_params(root, "retinanet_mobiledet_tiny")
    assert prepare.main(["--root", str(root)]) == 0
    return root


def write_params(root: Path, model: str, **multi_scale: Any) -> None:
    common = {
        "steps": STEPS,
        "batch_size": 4,
        "input_size": list(FULL),
        "warmup_steps": 5,
        "validation_interval": STEPS,
    }
    synthetic = {"num_train": 8, "num_val": 4, "num_test": 0, "size": 128}
    tree = {
        "models": [model],
        "schemes": ["int8"],
        "prepare": {"synthetic": synthetic, "calibration_images": 2},
        "train": {"common": {**common, "multi_scale": {"sizes": [list(SMALL)], **multi_scale}}},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(tree))


@pytest.mark.parametrize(
    ("model", "task", "order"),
    [
        ("retinanet_mobiledet_tiny", tasks.RetinaNetTrainingTask, "random"),
        ("ssdlite_tiny", tasks.SSDLiteTrainingTask, "growing"),
        ("maskrcnn_tiny", tasks.MaskRCNNTrainingTask, "growing"),
    ],
)
def test_every_kind_of_detector_trains_at_several_sizes(
    model: str,
    task: Any,
    order: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    traced: list[tuple[int, int]] = []
    train_step = task.train_step

    def watched(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        traced.append(tuple(inputs[0].shape[1:3]))
        return train_step(self, inputs, *args, **kwargs)

    monkeypatch.setattr(task, "train_step", as_written(watched))
    # Random sizes are drawn every five steps: so late that both come.
    write_params(prepared, model, order=order, final_share=0.5 if order == "growing" else 0.2)
    assert train.main(["--root", str(prepared), "--model", model]) == 0
    said = capfd.readouterr().err
    assert {f"{height} x {width}" for height, width in (SMALL, FULL)} == {
        line.partition("inputs of ")[2] for line in said.splitlines() if "inputs of" in line
    }
    assert set(traced) == {SMALL, FULL}
    if order == "growing":
        assert "step 0: inputs of 64 x 64" in said
        assert "step 10: inputs of 128 x 128" in said
    folder = Layout(prepared).variant(model, "trained")
    result = read_json(TrainResult, folder / "result.json")
    assert (result.input_size, result.steps) == (FULL, STEPS)
    losses = [entry["training_loss"] for entry in read_history(folder / "history.json").train]
    assert all(loss is not None and math.isfinite(loss) for loss in losses)
