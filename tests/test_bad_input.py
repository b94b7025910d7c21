"""Bad commands, parameters and data: one clear line that says where and what is allowed, and exit status 2."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from record_builder import write_record_set

from stages import prepare
from stages.core.params.tree import merge_trees
from tests.frozen_builder import section

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SMALL: dict[str, Any] = {
    "models": ["retinanet_mobiledet_tiny"],
    "schemes": ["int8"],
    "prepare": {"synthetic": {"num_train": 6, "num_val": 2, "num_test": 0, "size": 64}, "calibration_images": 2},
}


def nothing(folder: Path) -> None:
    """No data: the synthetic source makes its own."""


def coco_folder(folder: Path, *, num_classes: int = 2, num_annotations: int = 6) -> None:
    """Six small pictures and their COCO annotations in data/raw."""
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True)
    for index in range(6):
        Image.new("RGB", (64, 64), (40 * index, 90, 30)).save(raw / f"{index}.png")
    tree = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(6)],
        "categories": [{"id": c, "name": f"class {c}"} for c in range(num_classes)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i % num_classes, "bbox": [8, 8, 20, 20], "area": 400, "iscrowd": 0}
            for i in range(num_annotations)
        ],
    }
    (raw / "annotations.json").write_text(json.dumps(tree))


def one_class(folder: Path) -> None:
    coco_folder(folder, num_classes=1)


def no_annotations(folder: Path) -> None:
    coco_folder(folder, num_annotations=0)


def voc_folder(folder: Path) -> None:
    raw = folder / "data" / "raw"
    (raw / "Annotations").mkdir(parents=True)
    (raw / "JPEGImages").mkdir()
    Image.new("RGB", (64, 64)).save(raw / "JPEGImages" / "a.jpg")
    (raw / "Annotations" / "a.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")


def record_folder(folder: Path, *, keep: int | None = None, label_map: str = "item { id: 1 name: 'nut' }") -> None:
    raw = write_record_set(folder / "data" / "raw")
    (raw / "map.pbtxt").write_text(label_map)
    (raw / "a.record").write_bytes((raw / "a.record").read_bytes()[:keep])


def truncated_records(folder: Path) -> None:
    record_folder(folder, keep=-9, label_map="item { id: 1 name: 'nut' }\nitem { id: 2 name: 'fig' }")


def two_names_for_an_id(folder: Path) -> None:
    record_folder(folder, label_map="item { id: 1 name: 'nut' }\nitem { id: 1 name: 'fig' }")


@cache
def prepare_once() -> tempfile.TemporaryDirectory[str]:
    """A project with a prepared synthetic set of six training images."""
    project = tempfile.TemporaryDirectory(prefix="prepared-")
    Path(project.name, "params.yaml").write_text(yaml.safe_dump(SMALL))
    assert prepare.main(["--root", project.name]) == 0
    return project


def prepared(folder: Path) -> None:
    """The prepared set, copied."""
    shutil.copytree(Path(prepare_once().name, "data"), folder / "data")


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One mistake: what is on disk, what params.yaml says, what is run, and what the line must say."""

    id: str
    stage: str = "prepare"
    args: tuple[str, ...] = ()
    rooted: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    data: Callable[[Path], None] = nothing
    says: tuple[str, ...]


RECORDS = {"prepare": {"source": "tfrecord"}}
COCO = {"prepare": {"source": "coco", "annotations": "annotations.json"}}

CASES = (
    Bad(id="unknown_scheme", params={"schemes": ["int9"]}, says=("schemes", "'int9'", "did you mean", "int16x8")),
    Bad(
        id="unknown_model",
        params={"models": ["retinanet_mobiledet_cpuu"]},
        says=("models", "did you mean 'retinanet_mobiledet_cpu'"),
    ),
    Bad(
        id="model_by_its_former_name",
        params={"models": ["mobiledet_edgetpu"]},
        says=("models", "'mobiledet_edgetpu' is called 'retinanet_mobiledet_edgetpu' now"),
    ),
    Bad(
        id="section_by_its_former_name",
        params={"train": {"mobiledet_tiny": {}}},
        says=("train", "'mobiledet_tiny' is called 'retinanet_mobiledet_tiny' now"),
    ),
    Bad(
        id="former_name_on_the_command_line",
        stage="train",
        args=("--model", "mobiledet_dsp"),
        says=("--model", "'mobiledet_dsp' is called 'retinanet_mobiledet_dsp' now"),
    ),
    Bad(
        id="unknown_scheme_on_the_command_line",
        stage="convert",
        args=("--model", "retinanet_mobiledet_tiny", "--scheme", "int9"),
        says=("--scheme", "'int9'", "int16x8"),
    ),
    Bad(
        id="no_scheme_on_the_command_line",
        stage="convert",
        args=("--model", "retinanet_mobiledet_tiny"),
        says=("--scheme",),
    ),
    Bad(id="misspelt_key", params={"prepare": {"sede": 1}}, says=("prepare.sede", "unknown key", "'seed'")),
    Bad(id="misspelt_section", params={"modles": []}, says=("modles", "unknown key", "'models'")),
    Bad(
        id="misspelt_training_key",
        params={"train": {"common": {"batchsize": 4}, "retinanet_mobiledet_tiny": {}}},
        says=("train.common.batchsize", "'batch_size'"),
    ),
    Bad(
        id="misspelt_override",
        stage="train",
        args=("--model", "retinanet_mobiledet_tiny"),
        params={"train": {"retinanet_mobiledet_tiny": {"batch_size": 4, "overrides": {"task": {"modell": {}}}}}},
        data=prepared,
        says=("overrides", "modell", "model"),
    ),
    Bad(
        id="input_size_off_the_pyramid",
        params={"train": {"retinanet_mobiledet_tiny": {"input_size": [100, 100]}}},
        says=("train.retinanet_mobiledet_tiny.input_size", "multiples of 64"),
    ),
    Bad(id="missing_folder", params=merge_trees(COCO, {"prepare": {"path": "data/nowhere"}}), says=("data/nowhere",)),
    Bad(id="wrong_format", params=COCO, data=voc_folder, says=("annotations.json", "voc")),
    Bad(id="no_annotations", params=COCO, data=no_annotations, says=("annotations.json", "no")),
    Bad(id="one_class_only", params=COCO, data=one_class, says=("'class 0'", "min_classes")),
    Bad(
        id="truncated_records",
        params=RECORDS,
        data=truncated_records,
        says=("a.record: byte", "the file ends after", "record 5", "the 5 records before are whole"),
    ),
    Bad(id="class_not_in_the_map", params=RECORDS, data=record_folder, says=("record 1 (byte", "'fig'", "map.pbtxt")),
    Bad(
        id="two_names_for_an_id",
        params=RECORDS,
        data=two_names_for_an_id,
        says=("map.pbtxt: line 2: id 1 is there twice",),
    ),
    Bad(
        id="images_outside_of_the_data",
        params=merge_trees(COCO, {"prepare": {"images": "../images"}}),
        data=coco_folder,
        says=("prepare.images", "'../images' leads out of prepare.path", "data/raw"),
    ),
    Bad(
        id="parameter_of_another_source",
        params={"prepare": {"source": "voc", "label_map": "map.pbtxt"}},
        data=voc_folder,
        says=("prepare.label_map", "only for source tfrecord"),
    ),
    Bad(
        id="batch_larger_than_the_data",
        stage="train",
        args=("--model", "retinanet_mobiledet_tiny"),
        params={"train": {"retinanet_mobiledet_tiny": {"batch_size": 64}}},
        data=prepared,
        says=("train.retinanet_mobiledet_tiny.batch_size", "64", "6"),
    ),
    Bad(
        id="not_prepared",
        stage="train",
        args=("--model", "retinanet_mobiledet_tiny"),
        says=("data/prepared", "prepare"),
    ),
    Bad(
        id="brought_from_elsewhere",
        params={"brought": {"it": section("/data/it.pb")}},
        says=("brought.it.path", "'/data/it.pb'", "dvc add models/brought/it.pb"),
    ),
    Bad(
        id="brought_without_a_section_that_dvc_watches",
        stage="train",
        args=("--model", "it"),
        params={"brought": {"it": section("models/brought/it.pb")}},
        says=("train.it is missing", "`it: {}`"),
    ),
    Bad(
        id="brought_name_misspelt_on_the_command_line",
        stage="export",
        args=("--model", "its"),
        params={"brought": {"it": section("models/brought/it.pb")}},
        says=("--model", "did you mean 'it'"),
    ),
    Bad(id="no_git", stage="publish_experiments", says=("dvc exp list", "not inside of a DVC repository")),
    Bad(id="no_project_to_sweep", stage="sweep", args=("input_size",), says=("no dvc.yaml", "--root")),
    Bad(
        id="no_converted_folder_to_measure",
        stage="benchmark",
        args=("--out", "device.json", "nowhere"),
        rooted=False,
        says=("nowhere: no converted model in it", "result.json"),
    ),
    Bad(id="nothing_to_report", stage="report", says=("models/", "stage")),
)


def results(folder: Path) -> list[Path]:
    """Every file that a stage could leave; trainings in progress, which are below `work`, are none."""
    return [path for part in ("data", "models") for path in sorted((folder / part).rglob("*")) if path.is_file()]


@pytest.mark.parametrize("case", CASES, ids=attrgetter("id"))
def test_one_clear_line_and_status_2(case: Bad, tmp_path: Path) -> None:
    write = merge_trees(SMALL, case.params)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL))
    case.data(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(write))
    root = ("--root", str(tmp_path)) if case.rooted else ()
    before = results(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{case.stage}", *root, *case.args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in case.says:
        assert word in lines[0]
    assert results(tmp_path) == before, "nothing half-written"
