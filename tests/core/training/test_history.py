"""History: nothing lost by a kill, no step twice after a resume."""

import json
from pathlib import Path

from stages.core.results.history import History, read_history, write_history
from stages.core.training.history import HistoryLog, format_ap, to_points


def steps(log: HistoryLog) -> tuple[list[float | None], list[float | None]]:
    history = log.history
    return [entry["step"] for entry in history.train], [entry["step"] for entry in history.validation]


def filled(path: Path) -> HistoryLog:
    log = HistoryLog(path)
    for step in (5, 10, 15, 20):
        log.append("train", {"step": step, "total_loss": 1.0 / step, "seconds": step * 0.5})
        if step % 10 == 0:
            log.append("validation", {"step": step, "box_ap": float(step)})
    return log


def test_entries_survive_the_process(tmp_path: Path) -> None:
    filled(tmp_path / "history.jsonl")
    again = HistoryLog(tmp_path / "history.jsonl")
    assert steps(again) == ([5, 10, 15, 20], [10, 20])
    assert again.seconds == 10.0


def test_a_line_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    filled(path)
    path.write_bytes(path.read_bytes()[:-7])
    assert steps(HistoryLog(path)) == ([5, 10, 15, 20], [10])


def test_a_resume_forgets_what_will_be_done_again(tmp_path: Path) -> None:
    log = filled(tmp_path / "history.jsonl")
    log.rewind(10)
    log.append("train", {"step": 15})
    assert steps(log) == steps(HistoryLog(tmp_path / "history.jsonl")) == ([5, 10, 15], [10])


def test_an_evaluation_made_again_replaces_the_first(tmp_path: Path) -> None:
    log = filled(tmp_path / "history.jsonl")
    log.forget_validation(20)
    log.append("validation", {"step": 20, "box_ap": 3.0})
    assert [entry["box_ap"] for entry in HistoryLog(tmp_path / "history.jsonl").history.validation] == [10.0, 3.0]


def test_history_json_round_trip(tmp_path: Path) -> None:
    history = History(train=({"step": 1, "total_loss": 2.5},), validation=({"step": 1, "box_ap": None},))
    write_history(history, tmp_path / "history.json")
    assert read_history(tmp_path / "history.json") == history
    assert set(json.loads((tmp_path / "history.json").read_text())) == {"train", "validation"}


def test_evaluations_are_in_points_and_undefined_is_none() -> None:
    points = to_points({"AP": 0.25, "AP50": 0.5, "APs": -1.0, "mask_AP": 0.125, "ARmax1": 0.9})
    assert points == {"box_ap": 25.0, "box_ap50": 50.0, "box_ap_small": None, "mask_ap": 12.5}
    assert format_ap(points) == "box_ap 25.0, mask_ap 12.5"
    assert format_ap({}) == "no AP"
