"""Device files: measured here on copied folders, or read from what benchmark_model printed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import benchmark
from stages.core.base.errors import UserError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.results.device import DeviceCost, DeviceFile
from stages.core.results.status import Status
from tests.device_outputs import (
    BEFORE_PERCENTILES,
    CURRENT,
    GPU_FROM_LOGCAT,
    NO_SUCH_FILE,
    REFUSED_BY_THE_DELEGATE,
)
from tests.tflite_builder import build_detector, build_refused
from tests.tiny_project import write_conversion

MODEL = "retinanet_mobiledet_tiny"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder of converted folders, as somebody copied it; one row has no file."""
    layout = Layout(tmp_path / "box")
    write_conversion(layout, MODEL, "int8", build_detector())
    write_conversion(layout, MODEL, "int16x8", None, status=Status.FAILED, reason="why")
    return layout.converted(MODEL, "int8").parent


def sha_of(box: Path) -> str:
    return str(read_json(dict, box / "int8" / "result.json")["sha256"])


def read_output(box: Path, text: str, *more: str) -> DeviceCost:
    (box / "output.txt").write_text(text.replace("{sha}", sha_of(box)))
    out = box / "phone.json"
    words = [str(box / "int8"), "--read", str(box / "output.txt"), "--device", "Phone", "--cpu", "A chip"]
    assert benchmark.main([*words, "--out", str(out), *more]) == 0
    (cost,) = read_json(DeviceFile, out).costs
    return cost


def test_copied_folders_are_timed_on_images_or_noise(box: Path, tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "board.json"
    pictures.mkdir()
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(pictures / "a.png")
    (pictures / "notes.txt").write_text("no image")

    assert benchmark.main([str(box), "--out", str(out), "--device", "Board", "--runs", "6"]) == 0
    noise = read_json(DeviceFile, out)
    words = [str(box / "int8"), "--out", str(out), "--device", "Board", "--images", str(pictures)]
    assert benchmark.main([*words, "--threads", "1"]) == 0
    both = read_json(DeviceFile, out)
    assert benchmark.main([*words, "--threads", "2"]) == 0
    renewed = read_json(DeviceFile, out)

    assert (noise.device, noise.num_cpus >= 1, bool(noise.cpu)) == ("Board", True, True)
    (cost,) = noise.costs
    assert (cost.key, cost.artifact_sha256, cost.status) == ((MODEL, "int8", 2), sha_of(box), Status.OK)
    assert (cost.timed_on, cost.runs, cost.delegate) == ("noise", 6, "XNNPACK")
    assert cost.latency_p50_ms is not None
    assert cost.latency_p90_ms is not None
    assert 0 < cost.latency_p50_ms <= cost.latency_p90_ms < 1000
    assert [(cost.num_threads, cost.timed_on) for cost in both.costs] == [(1, "1 images"), (2, "noise")]
    assert [(cost.num_threads, cost.timed_on) for cost in renewed.costs] == [(1, "1 images"), (2, "1 images")]


def test_a_file_that_does_not_run_there_is_a_failed_row(box: Path, tmp_path: Path) -> None:
    other = Layout(tmp_path / "other")
    write_conversion(other, MODEL, "int8", build_refused())
    assert benchmark.main([str(other.converted(MODEL, "int8")), "--out", str(tmp_path / "a.json")]) == 0
    (cost,) = read_json(DeviceFile, tmp_path / "a.json").costs
    assert (cost.status, cost.latency_mean_ms) == (Status.FAILED, None)
    assert "stride_height > 0" in cost.reason


def test_the_output_of_benchmark_model(box: Path) -> None:
    cost = read_output(box, CURRENT)
    assert (cost.key, cost.artifact_sha256) == ((MODEL, "int8", 4), sha_of(box))
    assert (cost.latency_p50_ms, cost.latency_p95_ms) == (21.402, 22.871)
    assert cost.latency_mean_ms == pytest.approx(21.6119)
    assert (cost.runs, cost.warmup, cost.init_ms) == (61, 23, 41.503)
    assert (cost.memory_delta_bytes, cost.peak_rss_bytes) == (round(18.25 * 1024 * 1024), None)
    assert (cost.delegate, cost.tool, cost.timed_on) == ("XNNPACK", "benchmark_model", "random values")


def test_real_pixels_are_said(box: Path) -> None:
    graph = "INFO: Graph: [model.tflite]\n"
    assert read_output(
        box, CURRENT.replace(graph, f"{graph}INFO: Input value files: [image:image.bin]\n")
    ).timed_on == ("values of a file")


def test_an_older_benchmark_model_knows_means_only(box: Path) -> None:
    cost = read_output(box, BEFORE_PERCENTILES)
    assert (cost.latency_mean_ms, cost.latency_p50_ms) == (pytest.approx(1050.32), None)
    assert (cost.runs, cost.warmup) == (50, 1)
    assert (cost.num_threads, cost.delegate) == (1, "none")


def test_delegates(box: Path) -> None:
    gpu = read_output(box, GPU_FROM_LOGCAT)
    assert (gpu.delegate, gpu.latency_p50_ms, gpu.num_threads) == ("GPU", 25.276, 2)
    (box / "phone.json").unlink()
    assert read_output(box, REFUSED_BY_THE_DELEGATE).delegate == "none"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (NO_SUCH_FILE, r"output.txt: 0 whole runs of benchmark_model in it, expected one.*Benchmarking failed"),
        ("", "0 whole runs .*it is empty"),
        (CURRENT + CURRENT, "2 whole runs"),
        (CURRENT.partition("\n")[2], "no sha256 of the file that was measured; run `sha256sum model.tflite`"),
        (CURRENT.replace("{sha}", "ab" * 32), "measured on another file: sha256 abab"),
        (CURRENT.replace("hreads", "h"), "no number of threads in it; run benchmark_model with --num_threads=N"),
    ],
    ids=["failed", "empty", "two_runs", "no_hash", "other_file", "no_threads"],
)
def test_what_is_not_one_whole_run_of_the_file_is_refused(text: str, says: str, box: Path) -> None:
    with pytest.raises(UserError, match=says):
        read_output(box, text)
    assert not (box / "phone.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{box}/nowhere", "--out", "{box}/a.json"], "nowhere: no converted model in it, expected a folder with the"),
        (["{box}/int16x8", "--out", "{box}/a.json"], "int16x8: no converted model in it"),
        (["{box}", "--out", "{box}/no/a.json"], "--out: no such folder"),
        (["{box}", "--out", "{box}/a.json", "--images", "{box}/no"], "--images: no such file or folder"),
        (["{box}", "--out", "{box}/a.json", "--images", "{box}"], "no image in it"),
        (["{box}", "--out", "{box}/int8/result.json"], r"result.json: device: Field required"),
        (["{box}", "--out", "{box}/a.json", "--threads", "0"], "--threads"),
        (["{box}", "--out", "{box}/a.json", "--read", "{box}/x"], "--read needs --device and --cpu"),
        (["{box}", "--out", "{box}/a.json", "--read", "x", "--device", "a", "--cpu", "b"], "x: No such file"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(words: list[str], says: str, box: Path) -> None:
    with pytest.raises(UserError, match=says):
        benchmark.main([word.replace("{box}", str(box)) for word in words])
    assert not (box / "a.json").exists()


def test_the_file_of_another_device_is_not_overwritten(box: Path) -> None:
    read_output(box, CURRENT)
    before = (box / "phone.json").read_bytes()
    with pytest.raises(UserError, match="is of the device 'Phone', this is 'Board'"):
        benchmark.main([str(box), "--out", str(box / "phone.json"), "--device", "Board"])
    assert (box / "phone.json").read_bytes() == before


def test_a_damaged_copy_is_said_before_anything_is_measured(box: Path) -> None:
    (box / "int8" / "model.tflite").write_bytes(build_detector(gain=0.5))
    with pytest.raises(UserError, match=r"model\.tflite: not the file that was converted"):
        benchmark.main([str(box), "--out", str(box / "a.json")])
    assert not (box / "a.json").exists()
