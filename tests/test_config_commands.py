"""`import_config` and `export_config` as commands: what they write and refuse, and that they overwrite nothing."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from api_config import SSD

from stages import export_config, import_config
from stages.core.command_line import run_stage

MODEL = "ssdlite_mobiledet_dsp"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a project with prepared labels and a config."""
    monkeypatch.chdir(tmp_path)
    Path("mine.config").write_text(SSD)
    Path("params.yaml").write_text(yaml.safe_dump({"models": [MODEL], "schemes": ["int8"]}))
    Path("data/prepared").mkdir(parents=True)
    Path("data/prepared/labels.json").write_text(json.dumps({"1": "fig", "2": "nut"}))
    return tmp_path


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit status of a command line."""
    name, *arguments = command.split()
    monkeypatch.setattr(sys, "argv", [f"stages/{name}.py", *arguments])
    module = {"import_config": import_config, "export_config": export_config}[name]
    with pytest.raises(SystemExit) as ended:
        run_stage(lambda _: module.main(arguments))
    return int(ended.value.code or 0)


def test_from_a_config_to_parameters_and_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import_config mine.config --out params.yaml --force", monkeypatch) == 0
    assert "random_rgb_to_gray" in capsys.readouterr().out
    assert yaml.safe_load(Path("params.yaml").read_text())["models"] == [MODEL]
    assert run(f"export_config {MODEL} --out new.config", monkeypatch) == 0
    assert "train.validation_interval" in capsys.readouterr().out
    assert run(f"export_config {MODEL} --like mine.config --out same.config", monkeypatch) == 0
    assert Path("same.config").read_text() == SSD
    assert not list(folder.glob("*.partial"))


def test_without_a_file_to_write_the_result_is_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert run("import_config mine.config", monkeypatch) == 0
    assert yaml.safe_load(capsys.readouterr().out)["models"] == [MODEL]
    assert run(f"export_config {MODEL}", monkeypatch) == 0
    assert "ssd_mobiledet_dsp" in capsys.readouterr().out
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("import_config", "the following arguments are required: config (--help"),
        ("import_config no.config", "no.config: no such file"),
        ("import_config data", "data: Is a directory"),
        ("import_config params.yaml --out new.yaml", "params.yaml: line "),
        ("import_config mine.config --out params.yaml", "params.yaml: is there already; --force overwrites it"),
        ("import_config mine.config --out no/such.yaml", "no/such.yaml: no such folder"),
        ("import_config mine.config --out data --force", "data: a folder"),
        ("export_config", "the following arguments are required: model"),
        (
            "export_config mobiledet_dps --out a.config",
            "unknown model 'mobiledet_dps'; did you mean 'ssdlite_mobiledet_dsp'?",
        ),
        ("export_config maskrcnn_mobiledet --out a.config", "the Object Detection API has no such model"),
        (f"export_config {MODEL} --out mine.config", "mine.config: is there already"),
        (f"export_config {MODEL} --like no.config --out a.config", "no.config: no such file"),
        ("export_config ssdlite_mobiledet_cpu --like mine.config --out a.config", "its model is ssd_mobiledet_dsp"),
        (f"export_config {MODEL} --root no", "--root: no such folder"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    command: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(command, monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert says in error
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", [import_config, export_config])
def test_help(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])  # type: ignore[attr-defined]
    assert ended.value.code == 0
    assert "--force" in capsys.readouterr().out
