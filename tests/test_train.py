"""`train`, end to end on a tiny model: what it leaves, how it survives a kill, and what fine-tuning really loads."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from stages import prepare, train
from stages.core.base.errors import CheckpointError, ParamsError, TrainingError
from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import START_FILE, Layout
from stages.core.params.tree import merge_trees
from stages.core.results.history import read_history
from stages.core.results.training import TrainingStart, TrainResult
from tests.builders import AWKWARD, plain

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MODEL = "retinanet_mobiledet_tiny"
SETTINGS: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "weight_decay": 4e-5,
    "ema_decay": 0,
    "input_size": [64, 64],
    "steps": 20,
    "batch_size": 4,
    "warmup_steps": 5,
    "validation_interval": 10,
    "checkpoint_interval": 5,
}
START_S = 240
"""How long a training process may take to its first checkpoints on a busy machine."""


def write_params(root: Path, **settings: Any) -> None:
    tree = {
        "models": [MODEL],
        "schemes": ["int8"],
        "prepare": {"synthetic": {"num_train": 12, "num_val": 5, "num_test": 0, "size": 64}, "calibration_images": 2},
        "train": {"common": merge_trees(SETTINGS, settings)},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(tree))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with prepared data."""
    root = tmp_path_factory.mktemp("prepared") / AWKWARD
    root.mkdir()
    write_params(root)
    assert prepare.main(["--root", str(root)]) == 0
    return root


@pytest.fixture(scope="module")
def trained(prepared: Path) -> Layout:
    """The same project with one trained tiny model: made once, and only read."""
    assert run(prepared) == 0
    return Layout(prepared)


@pytest.fixture(scope="module")
def trained_weights(trained: Layout) -> dict[str, np.ndarray]:
    """The variables of the trained model. Read only."""
    return weights_of(trained.root)


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    """A project of its own on the same data."""
    root = tmp_path / AWKWARD
    shutil.copytree(prepared / "data", root / "data")
    write_params(root)
    return root


def run(root: Path, model: str = MODEL) -> int:
    return train.main(["--root", str(root), "--model", model])


def result_of(root: Path, model: str = MODEL) -> TrainResult:
    return read_json(TrainResult, Layout(root).variant(model, "trained") / "result.json")


def history_of(root: Path) -> tuple[dict[str, float | None], ...]:
    return read_history(Layout(root).variant(MODEL, "trained") / "history.json").train


def weights_of(root: Path) -> dict[str, np.ndarray]:
    """Variables of a trained model by path."""
    from stages.core.detectors.variables import list_detector_variables
    from stages.core.exporting.load import load_trained

    _, model = load_trained(Layout(root).variant(MODEL, "trained"))
    return {path: variable.numpy() for path, variable in list_detector_variables(model).items()}


def test_a_training_leaves_all_that_later_stages_read(trained: Layout) -> None:
    folder = trained.variant(MODEL, "trained")
    result = result_of(trained.root)
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint",
        "experiment.yaml",
        "history.json",
        "result.json",
        "tensorboard",
        "train.log",
    }
    assert result.checkpoint_sha256 == hash_file(folder / f"{result.checkpoint}.data-00000-of-00001")
    assert (result.steps, result.num_classes, result.input_size, result.stopped_early) == (20, 3, (64, 64), False)
    assert result.best_step in (10, 20)
    assert result.validation["box_ap"] is not None
    assert list(folder.glob("tensorboard/train/events*"))
    assert list(folder.glob("tensorboard/validation/events*"))
    assert "train | step:     20" in (folder / "train.log").read_text()
    assert str(trained.root) not in (folder / "experiment.yaml").read_text()  # a configuration can travel
    assert not list((trained.work / MODEL).iterdir())  # the work folder goes once the result is in place


def test_history_has_every_step_once(trained: Layout) -> None:
    history = read_history(trained.variant(MODEL, "trained") / "history.json")
    assert [entry["step"] for entry in history.train] == [5, 10, 15, 20]
    assert [entry["step"] for entry in history.validation] == [10, 20]
    for entry in history.train:
        assert {"total_loss", "cls_loss", "box_loss", "learning_rate", "images_per_second", "seconds"} <= set(entry)
    best = max(history.validation, key=lambda entry: entry["box_ap"] or 0.0)
    assert result_of(trained.root).validation["box_ap"] == best["box_ap"]


def test_loading_gives_the_kept_weights(trained: Layout, trained_weights: dict[str, np.ndarray]) -> None:
    import tensorflow as tf

    kept = tf.train.load_checkpoint(plain(trained.variant(MODEL, "trained") / "checkpoint" / "ckpt"))
    assert len(trained_weights) > 150
    for path, value in trained_weights.items():
        np.testing.assert_array_equal(kept.get_tensor(f"{path}/.ATTRIBUTES/VARIABLE_VALUE"), value)


def test_a_damaged_checkpoint_is_not_loaded(trained: Layout, tmp_path: Path) -> None:
    from stages.core.exporting.load import load_trained

    folder = tmp_path / "trained"
    shutil.copytree(trained.variant(MODEL, "trained"), folder)
    data = folder / "checkpoint" / "ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read into the model"):
        load_trained(folder)


def test_fine_tuning_uses_the_loaded_weights(
    trained: Layout, trained_weights: dict[str, np.ndarray], project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = trained.variant(MODEL, "trained")
    frozen = {"init_checkpoint": str(source), "init_modules": ["backbone"], "freeze_backbone": True, "seed": 1}
    write_params(project, steps=5, **frozen)
    assert run(project) == 0
    before, after = trained_weights, weights_of(project)
    backbone = [name for name in before if name.startswith("backbone")]
    assert len(backbone) > 100
    assert all(np.array_equal(before[name], after[name]) for name in backbone)
    assert not all(np.array_equal(before[name], after[name]) for name in before if name.startswith("head"))
    result = result_of(project)
    assert (result.initialized_from, result.not_loaded) == (str(source), ())
    assert result.initialization
    assert (result.initialization.kind, result.initialization.notes) == ("Model Garden TF2 checkpoint", ())
    assert [(part.part, part.loaded) for part in result.initialization.parts] == [("backbone", len(backbone))]
    said = capfd.readouterr().err
    assert "(Model Garden TF2 checkpoint)" in said
    assert "0 not loaded" in said


def test_fine_tuning_lists_what_does_not_fit(
    trained: Layout, trained_weights: dict[str, np.ndarray], project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more_anchors = {"anchors": {"num_scales": 1}, "learning_rate": 1e-9, "weight_decay": 0.0, "steps": 5}
    slow_backbone = {"freeze_backbone_steps": 2, "layer_decay": 0.7}
    write_params(project, init_checkpoint=str(trained.variant(MODEL, "trained")), **more_anchors, **slow_backbone)
    assert run(project) == 0
    missing = result_of(project).not_loaded
    assert missing
    assert all(name.startswith(("head/_classifier", "head/_box_regressor")) for name in missing)
    said = capfd.readouterr().err
    record = result_of(project).initialization
    assert record
    # The classes are those of the source, whose result.json names them; what differs are the anchors.
    assert [part.part for part in record.parts if part.loaded < part.variables] == ["head (class)", "head (box)"]
    assert "head (class)" in said
    assert "in the checkpoint, [12] here" in said
    assert f"{len(missing)} not loaded (all in result.json)" in said
    assert "step 2: the backbone learns from here on" in said
    before, after = trained_weights, weights_of(project)
    kernels = [name for name in before if before[name].ndim == 4 and before[name].shape == after[name].shape]
    assert len(kernels) > 30
    for name in kernels:  # nothing was learned: what is there is what was loaded
        np.testing.assert_allclose(before[name], after[name], atol=1e-5)


@contextmanager
def started(root: Path, *, through: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A training in a process of its own."""
    command = [*through, sys.executable, "-m", "stages.train", "--model", MODEL, "--root", str(root)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing happened in time")


def saved_steps(root: Path) -> list[int]:
    indexes = Layout(root).work.glob(f"{MODEL}/*/run/ckpt-*.index")
    return sorted(int(path.stem.split("-")[1]) for path in indexes if "damaged" not in path.name)


def terminate_once(what: Callable[[], Any]) -> None:
    """Starts a thread that sends SIGTERM to this very process as soon as something has happened."""

    def watch() -> None:
        wait_for(what)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


LAUNCHER = "import subprocess, sys; subprocess.run(sys.argv[1:])"


def test_a_training_survives_whatever_stops_it(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = {"steps": 120, "validation_interval": 120}
    write_params(project, **settings)

    terminate_once(lambda: saved_steps(project))  # SIGTERM: saved at the step boundary, status 128 + 15
    assert run(project) == 128 + signal.SIGTERM
    terminated_at = saved_steps(project)[-1]
    assert f"saved at step {terminated_at}" in capfd.readouterr().err

    with started(
        project, through=(sys.executable, "-c", LAUNCHER)
    ) as parent:  # the parent is killed: so ends the child
        wait_for(lambda: saved_steps(project)[-1] > terminated_at)
        child = psutil.Process(parent.pid).children()[0].pid
        parent.kill()
        wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())
    orphaned_at = saved_steps(project)[-1]

    with started(project) as process:  # kill -9
        wait_for(lambda: saved_steps(project)[-1] > orphaned_at + 5)
        process.kill()
    work = next(Layout(project).work.glob(f"{MODEL}/*/run"))
    start = read_json(TrainingStart, work.parent / START_FILE)
    assert (start.model, start.variant, start.pid) == (MODEL, "trained", process.pid)
    assert start.settings["steps"] == 120
    killed_at, previous = saved_steps(project)[-1], saved_steps(project)[-2]
    newest = work / f"ckpt-{killed_at}.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])

    write_params(project, steps=5, learning_rate=0.01)  # another configuration does not go on from there
    capfd.readouterr()
    assert run(project) == 0
    assert "going on" not in capfd.readouterr().err
    assert [entry["step"] for entry in history_of(project)] == [5]

    write_params(project, **settings)  # the first one does, from the checkpoint before the truncated one
    assert run(project) == 0
    said = capfd.readouterr().err
    assert f"checkpoint ckpt-{killed_at} is damaged" in said
    assert f"going on from step {previous}" in said
    steps = [entry["step"] for entry in history_of(project)]
    assert sorted({*steps, *range(5, 121, 5)}) == steps  # every fifth, those where it was stopped, and none twice
    assert not work.exists()


def test_early_stopping_keeps_the_best(project: Path) -> None:
    # A vanishing learning rate: no evaluation is better than the first.
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "warmup_steps": 0}
    write_params(project, steps=60, validation_interval=5, early_stopping_patience=2, **still)
    assert run(project) == 0
    result = result_of(project)
    assert result.stopped_early
    assert result.best_step < result.steps < 60


def test_a_diverging_loss_is_explained(project: Path) -> None:
    write_params(project, learning_rate=1e8, gradient_clip_norm=0, warmup_steps=0)
    with pytest.raises(TrainingError, match=r"is (nan|inf) at step \d+.*learning_rate") as caught:
        run(project)
    assert "\n" not in str(caught.value)
    assert not Layout(project).variant(MODEL, "trained").exists()


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "batch": ({"batch_size": 13}, TrainingError, r"batch_size 13 is larger than the train split \(12 images\)"),
    "batch-by-override": (
        {"overrides": {"task": {"train_data": {"global_batch_size": 13}}}},
        TrainingError,
        "batch_size 13 is larger",
    ),
    "override": ({"overrides": {"trainer": {"step": 3}}}, ParamsError, "overrides.trainer.step: unknown key.*known:"),
    "nothing-to-freeze": (
        {"freeze_backbone_steps": 5},
        ParamsError,
        "_tiny.freeze_backbone_steps: 5 is for a pretrained backbone, and there is no init_checkpoint",
    ),
    "other-modules": (
        {"layer_decay": 0.5, "init_checkpoint": "nowhere/ckpt", "init_modules": "decoder"},
        ParamsError,
        "layer_decay: 0.5 is for a pretrained backbone; init_modules must be all or name backbone",
    ),
    "no-checkpoint": ({"init_checkpoint": "nowhere/ckpt"}, CheckpointError, "nowhere/ckpt: no such checkpoint"),
    "no-such-zoo-name": (
        {"init_checkpoint": "zoo:ssdlite_mobiledet_cup"},
        CheckpointError,
        "did you mean 'ssdlite_mobil",
    ),
    "no-labels": (
        {"init_checkpoint": "somewhere/model.ckpt", "init_labels": "nowhere.pbtxt"},
        CheckpointError,
        "somewhere/model.ckpt: no such checkpoint",
    ),
    "strategy": ({"strategy": "tpu"}, TrainingError, "strategy tpu cannot be set up on this machine"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_one_line(case: str, project: Path) -> None:
    settings, kind, says = BAD[case]
    write_params(project, **settings)
    with pytest.raises(kind, match=says) as caught:
        run(project)
    assert "\n" not in str(caught.value)


def test_nothing_of_a_foreign_checkpoint_fits(project: Path) -> None:
    import tensorflow as tf

    tf.train.Checkpoint(something=tf.Variable(1.0)).write(str(project / "foreign"))
    write_params(project, init_checkpoint="foreign")
    with pytest.raises(CheckpointError, match=r"nothing in it fits backbone, head, decoder.*it holds something"):
        run(project)


def test_masks_are_learned_with_every_extra_switched_on(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    extras = {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "schedule": "stepwise",
        "ema_decay": 0.9,
        "augmentation": {"policy": "randaug"},
        "resize": "stretch",
        "recalibrate_batch_norm": 4,
        "strategy": "mirrored",
        "anchors": {"fit": True},
        "width": 0.5,
        "regions": {"num_proposals": 40, "num_sampled_rois": 12, "box_crop_size": 5, "sampling_ratio": 2},
    }
    write_params(project, steps=5, **extras)
    assert run(project, "maskrcnn_tiny") == 0
    result = result_of(project, "maskrcnn_tiny")
    assert {"box_ap", "mask_ap", "mask_ap50"} <= set(result.validation)
    # What later stages read is what was trained with.
    folder, fitted = Layout(project).variant("maskrcnn_tiny", "trained"), result.fitted_anchors
    model = yaml.safe_load((folder / "experiment.yaml").read_text())["task"]["model"]
    assert fitted is not None
    assert (model["anchor"]["anchor_size"], tuple(model["anchor"]["aspect_ratios"])) == (
        fitted.size,
        fitted.aspect_ratios,
    )
    assert (model["roi_aligner"]["crop_size"], model["roi_aligner"]["sampling_ratio"]) == (5, 2)
    assert model["backbone"]["mobiledet"]["filter_size_scale"] == 0.125
    assert "batch norms measured anew on 4 training images" in capfd.readouterr().err
