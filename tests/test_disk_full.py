"""No room for what a stage writes: one line, status 2, nothing half-written, and the next run is fine."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.core.base.folders import replaced_file
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.base.system_errors import describe_system_error
from stages.core.results.kinds import Variant
from tests import refined_project
from tests.builders import write_project
from tests.test_predict import write_picture
from tests.tflite_builder import build_detector
from tests.tiny_project import LABELS, tiny_interface, write_artifact, write_conversion, write_tiny_project

ROOT = Path(__file__).resolve().parent.parent
MODEL = "retinanet_mobiledet_tiny"
ROW = ("--model", MODEL, "--scheme", "float32")
LIMIT = 400
"""Bytes that a file may have: less than any stage writes."""
LIMIT_OF_CHECKPOINTS = 30_000
"""Enough for what starts a training, less than its weights."""


def tiny(root: Path) -> Layout:
    layout = write_tiny_project(root)
    write_conversion(layout, MODEL, "float32", build_detector())
    write_json(LABELS, layout.labels)
    write_json({"seed": 0, "split": "train", "images": []}, layout.calibration)
    (layout.exported(MODEL, "trained") / "model.tflite").write_bytes(build_detector())
    return layout


def measured(root: Path) -> Layout:
    return write_project(root, (MODEL,), ("float32",), params={"report": {"num_pictures": 1}})


STAGES: dict[str, tuple[Callable[[Path], Layout], tuple[str, ...]]] = {
    "convert": (tiny, ROW),
    "validate": (tiny, ROW),
    "benchmark": (tiny, ROW),
    "report": (measured, ()),
}


def initialized(root: Path) -> Layout:
    """Prepared data, and a model with first weights."""
    steps = {"steps": 4, "validation_interval": 4, "checkpoint_interval": 2, "warmup_steps": 1}
    refined_project.write_params(
        root,
        models=[MODEL],
        schemes=["float32"],
        train={"common": {**refined_project.TRAINING, **steps}},
    )
    layout = Layout(root)
    run_stage("prepare", root, (), None).check_returncode()
    refined_project.write_weights(layout, MODEL, Variant.TRAINED)
    return layout


def run_stage(
    stage: str, root: Path, arguments: tuple[str, ...], limit: int | None
) -> subprocess.CompletedProcess[str]:
    return run_command(stage, (*arguments, "--root", str(root)), limit)


def run_command(stage: str, arguments: tuple[str, ...], limit: int | None) -> subprocess.CompletedProcess[str]:
    def no_room() -> None:
        # As a full disk does, this fails the write; and it holds for child processes too.
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", f"stages.{stage}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=no_room)


def files_of(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_room_says_so_and_is_fine_afterwards(stage: str, tmp_path: Path) -> None:
    make, arguments = STAGES[stage]
    root = make(tmp_path).root
    before = files_of(root)

    full = run_stage(stage, root, arguments, LIMIT)
    assert full.returncode == 2, full.stderr
    (line,) = [line for line in full.stderr.splitlines() if "%" not in line]
    assert line.startswith("error: ")
    assert os.strerror(errno.EFBIG) in line
    left = {path for path in files_of(root) if path not in before}
    assert not [path for path in left if path.stat().st_size >= LIMIT and path.suffix == ".json"], "half of a result"
    assert {path: content for path, content in files_of(root).items() if path in before} == before

    assert run_stage(stage, root, arguments, None).returncode == 0


def test_a_prediction_without_room_says_so_and_is_fine_afterwards(tmp_path: Path) -> None:
    write_artifact(tmp_path / "model", build_detector(), tiny_interface(MODEL))
    pictures = [write_picture(tmp_path / f"{name}.png", np.full((40, 60, 3), 90, np.uint8)) for name in "ab"]
    arguments = (*map(str, pictures), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"))
    for before in ("nothing", "an earlier prediction"):
        kept = files_of(tmp_path)
        full = run_command("predict", arguments, LIMIT)
        assert full.returncode == 2, (before, full.stderr)
        assert "Traceback" not in full.stderr
        (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: {tmp_path / 'out'}: {os.strerror(errno.EFBIG)}; ")
        assert files_of(tmp_path) == kept, before
        assert run_command("predict", arguments, None).returncode == 0


STAGES_OF_TENSORFLOW = ("train", "export")
"""`prune` and `qat` save as `train` does."""


@pytest.mark.slow
def test_a_stage_of_tensorflow_without_room_says_so_and_is_fine_afterwards(tmp_path: Path) -> None:
    root = initialized(tmp_path).root
    for stage in STAGES_OF_TENSORFLOW:
        before = files_of(root)
        full = run_stage(stage, root, ("--model", MODEL), LIMIT_OF_CHECKPOINTS)
        assert full.returncode == 2, (stage, full.stderr)
        (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
        assert os.strerror(errno.EFBIG) in line, stage
        assert "Traceback" not in full.stderr, stage
        kept = {path: content for path, content in files_of(root).items() if path in before}
        assert kept == before, f"{stage}: what was there before is untouched"

        fine = run_stage(stage, root, ("--model", MODEL), None)
        assert fine.returncode == 0, (stage, fine.stderr)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("link", ["", "__cause__", "__context__"])
def test_an_error_of_the_system_is_found_behind_others(code: int, link: str) -> None:
    error: BaseException = OSError(code, os.strerror(code), "models/x.json")
    if link:
        outer = RuntimeError("a library gave up")
        setattr(outer, link, error)
        error = outer
    told = describe_system_error(error)
    assert told is not None
    assert told.startswith(f"models/x.json: {os.strerror(code)}; ")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: /a/b.tfrecord; No space left on device"), True),
        (RuntimeError("{{function_node SaveV2_/job:local}} /a/ckpt-5; File too large [Op:SaveV2]"), True),
        (RuntimeError("database or disk is full"), False),
        (RuntimeError("(sqlite3.OperationalError) attempt to write a readonly database"), True),
        (RuntimeError("(sqlite3.OperationalError) unable to open database file"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), False),
        (ValueError("shape mismatch"), False),
    ],
)
def test_what_native_code_says_counts_too(error: Exception, found: bool) -> None:
    told = describe_system_error(error)
    assert (told is not None) == found
    assert told is None or not {"{", "["} & set(told)


def fail_to_write(path: Path) -> None:
    with replaced_file(path) as partial:
        partial.write_text("ne")
        raise OSError("full")


def test_a_file_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(OSError, match="full"):
        fail_to_write(path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
