"""Whatever a kill leaves behind, the newest good checkpoint is the one that is restored."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from stages.core.training.checkpoints import find_fault, settle_best, settle_checkpoints

pytestmark = pytest.mark.slow


def save(folder: Path, *steps: int, name: str = "ckpt", value: float = 1.0) -> tf.train.CheckpointManager:
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(global_step=step, weights=tf.Variable([value] * 1000))
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3, checkpoint_name=name)
    for number in steps:
        step.assign(number)
        manager.save(checkpoint_number=number)
    return manager


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


DATA, INDEX = "ckpt-20.data-00000-of-00001", "ckpt-20.index"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "data truncated": lambda folder: cut_in_half(folder / DATA),
    "data empty": lambda folder: (folder / DATA).write_bytes(b"") and None,
    "data missing": lambda folder: (folder / DATA).unlink(),
    "data corrupted": lambda folder: flip_a_byte(folder / DATA),
    "index truncated": lambda folder: cut_in_half(folder / INDEX),
    "index missing": lambda folder: (folder / INDEX).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_set_aside(damage: str, tmp_path: Path) -> None:
    save(tmp_path, 10, 20)
    DAMAGES[damage](tmp_path)
    step, notes = settle_checkpoints(tmp_path)
    assert step == 10
    assert len(notes) == 1
    assert "ckpt-20 is damaged" in notes[0]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-10")
    assert list(tmp_path.glob("ckpt-20.damaged.*"))
    assert settle_checkpoints(tmp_path) == (10, [])


def test_weights_that_are_not_finite_are_no_good(tmp_path: Path) -> None:
    save(tmp_path, 10)
    save(tmp_path, 20, value=float("nan"))
    step, notes = settle_checkpoints(tmp_path)
    assert step == 10
    assert "weights is not finite" in notes[0]


@pytest.mark.parametrize("content", [b"", b'model_checkpoint_path: "ckpt-9', b"\x00\xff"], ids=["empty", "cut", "junk"])
def test_the_state_file_is_not_needed(content: bytes, tmp_path: Path) -> None:
    save(tmp_path, 10, 20)
    (tmp_path / "checkpoint").write_bytes(content)
    (tmp_path / "ckpt-30_temp").mkdir()
    assert settle_checkpoints(tmp_path) == (20, [])
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-20")
    assert not (tmp_path / "ckpt-30_temp").exists()


def test_nothing_there_is_a_start_from_scratch(tmp_path: Path) -> None:
    assert settle_checkpoints(tmp_path) == (None, [])


def test_old_checkpoints_still_go_after_a_resume(tmp_path: Path) -> None:
    save(tmp_path, 10, 20, 30)
    settle_checkpoints(tmp_path)
    save(tmp_path, 40, 50)
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["ckpt-30", "ckpt-40", "ckpt-50"]


def test_steps_count_not_names(tmp_path: Path) -> None:
    save(tmp_path, 5, 100, 20)
    assert settle_checkpoints(tmp_path)[0] == 100
    assert find_fault(tmp_path / "ckpt-100") is None


def write_best(folder: Path, *, weights_of: int, noted: int | None) -> None:
    save(folder, weights_of, name="best_ckpt")
    if noted is not None:
        (folder / "info.json").write_text(json.dumps({"AP": 0.5, "best_ckpt_global_step": float(noted)}))


@pytest.mark.parametrize(("noted", "kept"), [(20, True), (30, False), (None, False)], ids=["same", "other", "none"])
def test_the_best_weights_and_their_ap_belong_together(noted: int | None, kept: bool, tmp_path: Path) -> None:
    write_best(tmp_path / "best", weights_of=20, noted=noted)
    notes = settle_best(tmp_path / "best", newest=40)
    assert (tmp_path / "best").exists() == kept
    assert bool(notes) != kept


@pytest.mark.parametrize(("newest", "kept"), [(30, True), (20, True), (10, False), (0, False)])
def test_a_best_from_after_the_resume_is_forgotten(newest: int, kept: bool, tmp_path: Path) -> None:
    write_best(tmp_path / "best", weights_of=20, noted=20)
    notes = settle_best(tmp_path / "best", newest=newest)
    assert (tmp_path / "best").exists() == kept
    assert bool(notes) != kept
