"""`prune`: cheap when nobody asks for it, and otherwise a training whose zeros reach the converted file."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import prepare, prune
from stages.core.base.errors import MissingResultError, ParamsError, UserError
from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.params.steps import ExportParams
from stages.core.results.history import read_history
from stages.core.results.kinds import Variant
from stages.core.results.status import Status
from stages.core.results.training import TrainResult
from tests import refined_project
from tests.builders import AWKWARD, plain

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MODEL = "retinanet_mobiledet_tiny"
SCHEME = "pruned_int8"
PRUNE: dict[str, Any] = {
    "target_sparsity": 0.6,
    "steps": 20,
    "end_step": 15,
    "frequency": 5,
    "warmup_steps": 2,
    "validation_interval": 10,
    "checkpoint_interval": 5,
}


def write_params(root: Path, *, schemes: tuple[str, ...] = (SCHEME,), **changes: Any) -> None:
    refined_project.write_params(root, models=[MODEL], schemes=list(schemes), prune={**PRUNE, **changes})


def run(root: Path) -> int:
    return prune.main(["--root", str(root), "--model", MODEL])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with prepared data, and first weights in place of trained ones. Read only."""
    root = tmp_path_factory.mktemp("source")
    write_params(root)
    assert prepare.main(["--root", str(root)]) == 0
    refined_project.write_weights(Layout(root), MODEL, Variant.TRAINED)
    return root


@pytest.fixture
def project(source: Path, tmp_path: Path) -> Layout:
    """A project of its own with the same data and weights."""
    root = tmp_path / AWKWARD
    shutil.copytree(source, root)
    write_params(root)
    return Layout(root)


IN_A_FRESH_PROCESS = """
import sys
from stages.prune import main
assert main(["--root", sys.argv[1], "--model", sys.argv[2]]) == 0
assert not {"tensorflow", "tf_keras", "tensorflow_model_optimization"} & set(sys.modules), "TensorFlow was imported"
"""


def test_nothing_asks_for_pruned_weights(tmp_path: Path) -> None:
    write_params(tmp_path, schemes=("float32", "int8"))
    old = Layout(tmp_path).variant(MODEL, Variant.PRUNED)
    (old / "checkpoint").mkdir(parents=True)
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path), MODEL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in old.iterdir()] == ["result.json"]
    result = read_json(TrainResult, old / "result.json")
    assert (result.status, result.variant) == (Status.NOT_APPLICABLE, "pruned")
    assert result.reason == "no scheme in use starts from pruned weights (schemes: float32, int8)"


def test_what_is_pruned_must_be_trained(tmp_path: Path) -> None:
    write_params(tmp_path)
    with pytest.raises(
        MissingResultError, match=r"models/trained/retinanet_mobiledet_tiny: no trained weights.*stages\.train"
    ):
        run(tmp_path)


BAD: dict[str, tuple[dict[str, Any], type[UserError], str]] = {
    "sparsity": ({"target_sparsity": 1.5}, ParamsError, r"prune\.target_sparsity: .*less than 1 \(found 1\.5\)"),
    "steps": ({"begin_step": 15}, ParamsError, "end_step 15 must be above begin_step 15"),
    "pattern": ({"layers": ["hed/_cls"]}, ParamsError, r"prune\.layers\[0\]: 'hed/_cls' finds none .*/_cls_convs"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_one_line(case: str, project: Layout) -> None:
    changes, kind, says = BAD[case]
    write_params(project.root, **changes)
    with pytest.raises(kind, match=says) as caught:
        run(project.root)
    assert "\n" not in str(caught.value)
    assert not project.variant(MODEL, Variant.PRUNED).exists()


def masks_of(checkpoint: Path) -> dict[str, np.ndarray]:
    """Masks in a checkpoint, by the path of their kernel."""
    import tensorflow as tf

    reader, mark = tf.train.load_checkpoint(plain(checkpoint)), "model/pruning/masks/"
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(mark)]
    return {
        name.removeprefix(mark).split("/.ATTRIBUTES")[0].replace(".S", "/"): reader.get_tensor(name) for name in names
    }


def test_a_pruning_that_was_stopped_goes_on_and_its_zeros_reach_the_file(
    project: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tensorflow as tf

    from stages.core.converting.sparsity import read_sparsity
    from stages.core.exporting.export import build_graph
    from stages.core.exporting.graph import PostProcessingSettings
    from stages.core.exporting.load import load_trained
    from stages.core.exporting.tflite import write_tflites
    from stages.core.pruning.kernels import list_kernels

    with monkeypatch.context() as patch:
        refined_project.stop_at(15, patch)
        assert run(project.root) == 128 + signal.SIGTERM
    (saved,) = project.work.glob(f"{MODEL}/*/run/ckpt-15.index")
    masks = masks_of(saved.with_suffix(""))
    assert len(masks) > 20
    assert run(project.root) == 0

    folder = project.variant(MODEL, Variant.PRUNED)
    result = read_json(TrainResult, folder / "result.json")
    assert (result.variant, result.status, result.steps, result.best_step) == ("pruned", Status.OK, 20, 20)
    assert result.initialized_from == "models/trained/retinanet_mobiledet_tiny"
    assert [entry["step"] for entry in read_history(folder / "history.json").validation] == [20]  # none too early
    assert result.checkpoint_sha256 == hash_file(folder / f"{result.checkpoint}.data-00000-of-00001")

    def stored(variant: Variant) -> dict[str, list[int]]:
        return dict(tf.train.list_variables(plain(project.variant(MODEL, variant) / "checkpoint" / "ckpt")))

    assert stored(Variant.PRUNED) == stored(Variant.TRAINED)
    _, model = load_trained(folder)
    kernels = {kernel.path: kernel for kernel in list_kernels(model)}
    for path, mask in masks.items():  # the masks of step 15, and no others, made the zeros of step 20
        zeros = kernels[path].variable.numpy() == 0
        np.testing.assert_array_equal(zeros, mask == 0, err_msg=path)
        assert np.mean(zeros) == pytest.approx(0.6, abs=0.01)
    assert not any((kernel.variable.numpy() == 0).any() for path, kernel in kernels.items() if path not in masks)

    settings = PostProcessingSettings(**ExportParams().model_dump())
    write_tflites(build_graph(folder, settings)[1], tmp_path)
    rows = read_sparsity((tmp_path / "model.tflite").read_bytes())
    pruned = [row for row in rows if row.sparsity > 0]
    assert len(pruned) >= len(masks)  # a head's kernel is folded with the batch norm of each level
    assert all(row.sparsity == pytest.approx(0.6, abs=0.01) for row in pruned)
    sizes = sorted(mask.size for mask in masks.values())
    assert sorted({row.num_weights for row in pruned}) == sorted(set(sizes))
