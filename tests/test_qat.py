"""`qat`: cheap when nobody asks for it, and otherwise a training under rounding that can be stopped."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import prepare, qat
from stages.core.base.errors import MissingResultError, ParamsError, UserError
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import Layout
from stages.core.results.history import read_history
from stages.core.results.kinds import Variant
from stages.core.results.status import Status
from stages.core.results.training import TrainResult
from tests import refined_project
from tests.builders import AWKWARD

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
BOXES, MASKS = "retinanet_mobiledet_tiny", "maskrcnn_tiny"
SETTINGS: dict[str, Any] = {
    "steps": 10,
    "learning_rate": 0.01,
    "warmup_steps": 2,
    "validation_interval": 10,
    "checkpoint_interval": 5,
}
NUM_ZEROS = 4


def write_params(root: Path, schemes: tuple[str, ...] = ("qat_int8", "pruned_qat_int8"), **changes: Any) -> None:
    refined_project.write_params(root, models=[BOXES, MASKS], schemes=list(schemes), qat={**SETTINGS, **changes})


def run(root: Path, model: str = BOXES, variant: str = "qat") -> int:
    return qat.main(["--root", str(root), "--model", model, "--variant", variant])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Prepared data, and weights to start from. Read only."""
    layout = Layout(tmp_path_factory.mktemp("source"))
    write_params(layout.root)
    assert prepare.main(["--root", str(layout.root)]) == 0
    refined_project.write_weights(layout, BOXES, Variant.PRUNED, num_zeros=NUM_ZEROS)
    refined_project.write_weights(layout, MASKS, Variant.TRAINED)
    return layout


@pytest.fixture
def project(source: Layout, tmp_path: Path) -> Layout:
    """A project of its own with the same data and weights."""
    return Layout(shutil.copytree(source.root, tmp_path / AWKWARD))


IN_A_FRESH_PROCESS = """
import sys
from stages.qat import main
assert main(["--root", sys.argv[1], "--model", sys.argv[2], "--variant", sys.argv[3]]) == 0
assert not {"tensorflow", "tf_keras", "tensorflow_model_optimization"} & set(sys.modules), "TensorFlow was imported"
"""


@pytest.mark.parametrize("variant", [Variant.QAT, Variant.PRUNED_QAT])
def test_nothing_asks_for_such_weights(variant: Variant, tmp_path: Path) -> None:
    write_params(tmp_path, schemes=("float32", "int8"))
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path), BOXES, variant]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = read_json(TrainResult, Layout(tmp_path).variant(BOXES, variant) / "result.json")
    assert (result.status, result.variant) == (Status.NOT_APPLICABLE, variant)
    assert result.reason == f"no scheme in use starts from {variant} weights (schemes: float32, int8)"


MISSING = {
    "qat": r"models/trained/retinanet_mobiledet_tiny: no trained weights .*`python -m stages\.train --model \w+`",
    "pruned_qat": r"models/pruned/retinanet_mobiledet_tiny: no trained weights .*stages\.prune",
}


@pytest.mark.parametrize("variant", MISSING)
def test_there_must_be_weights_to_start_from(variant: str, tmp_path: Path) -> None:
    write_params(tmp_path)
    with pytest.raises(MissingResultError, match=MISSING[variant]) as caught:
        run(tmp_path, variant=variant)
    assert "\n" not in str(caught.value)


def test_weights_that_were_not_made_are_no_source(project: Layout) -> None:
    path = project.variant(BOXES, Variant.PRUNED) / "result.json"
    unneeded = {**json.loads(path.read_text()), "status": "not_applicable", "reason": "nobody asked"}
    write_json(unneeded, path)
    with pytest.raises(MissingResultError, match=r"no weights to start from \(not_applicable: nobody asked\)"):
        run(project.root, variant="pruned_qat")


BAD: dict[str, tuple[dict[str, Any], type[UserError], str]] = {
    "steps": ({"steps": 0}, ParamsError, r"qat\.steps: .*greater than 0 \(found 0\)"),
    "unknown": ({"bits": 4}, ParamsError, r"qat\.bits: unknown key \(known: .*learning_rate"),
    "batch": ({"batch_size": 13}, UserError, r"batch_size 13 is larger than the train split \(12 images\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_one_line(case: str, project: Layout) -> None:
    changes, kind, says = BAD[case]
    write_params(project.root, **changes)
    with pytest.raises(kind, match=says) as caught:
        run(project.root, variant="pruned_qat")
    assert "\n" not in str(caught.value)


def values_of(folder: Path, *, quantized: bool) -> dict[str, np.ndarray]:
    """Trainable weights of a folder by name, as they were stored."""
    import tensorflow as tf

    from stages.core.base.layout import RESULT_FILE
    from stages.core.detectors.build import build_model, read_experiment, restore_weights
    from stages.core.quantizing.model import quantize_model
    from stages.core.tables.detectors import DETECTORS

    result = read_json(TrainResult, folder / RESULT_FILE)
    model = build_model(read_experiment(folder / "experiment.yaml", DETECTORS[result.model]))
    if quantized:
        quantize_model(model)
    restore_weights(model, folder / result.checkpoint)
    values: list[tf.Variable] = model.trainable_variables
    # Keras numbers the layers of a process: the same layer has another number in the next model.
    return {f"{index} {re.sub(r'_[0-9]+', '', value.name)}": value.numpy() for index, value in enumerate(values)}


def test_a_training_that_was_stopped_goes_on_and_keeps_zeros(
    project: Layout, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from stages.core.exporting.load import load_trained
    from stages.core.quantizing.attach import walk_layers
    from stages.core.quantizing.quantizers import FakeQuant

    with monkeypatch.context() as patch:
        refined_project.stop_at(5, patch)
        assert run(project.root, variant="pruned_qat") == 128 + signal.SIGTERM
    assert list(project.work.glob(f"{BOXES}/*/run/ckpt-5.index"))
    capfd.readouterr()
    assert run(project.root, variant="pruned_qat") == 0
    assert "going on from step 5" in capfd.readouterr().err

    folder = project.variant(BOXES, Variant.PRUNED_QAT)
    result = read_json(TrainResult, folder / "result.json")
    assert (result.variant, result.status, result.steps) == ("pruned_qat", Status.OK, 10)
    assert result.initialized_from == f"models/pruned/{BOXES}"
    assert [entry["step"] for entry in read_history(folder / "history.json").train] == [5, 10]

    before = values_of(project.variant(BOXES, Variant.PRUNED), quantized=False)
    after = values_of(folder, quantized=True)
    assert before.keys() == after.keys()
    kernels = [name for name in before if "kernel" in name]
    assert len(kernels) > 30
    changed = [name for name in kernels if not np.array_equal(before[name], after[name])]
    assert len(changed) > 0.8 * len(kernels)  # first weights leave some channels without a gradient
    for name in kernels:
        assert not after[name].reshape(-1)[:NUM_ZEROS].any(), name

    _, model = load_trained(folder)
    rounders = [layer for layer in walk_layers(list(model.checkpoint_items.values())) if isinstance(layer, FakeQuant)]
    assert len(rounders) > 75
    assert any(float(np.max(rounder.range["max_var"])) > 0 for rounder in rounders)
    assert all(layer.weights_on_grid for layer in walk_layers(model.head) if hasattr(layer, "weight_rounders"))


def test_masks_are_learned_under_rounding(project: Layout) -> None:
    write_params(project.root, steps=5, validation_interval=5)
    assert run(project.root, MASKS) == 0
    folder = project.variant(MASKS, Variant.QAT)
    before = values_of(project.variant(MASKS, Variant.TRAINED), quantized=False)
    after = values_of(folder, quantized=True)
    assert {"box_ap", "mask_ap"} <= set(read_json(TrainResult, folder / "result.json").validation)
    for part in ("rpn-conv", "detection-fc", "mask-conv", "mask-upsampling", "mask-logits"):
        names = [name for name in before if part in name and "kernel" in name]
        assert names, part
        assert [name for name in names if np.array_equal(before[name], after[name])] == [], part
