"""From parameters to a config of the API, and round trips both ways."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_config import LEARNING_RATES, MASK_RCNN, OPTIMIZERS, SSD, with_optimizer

from stages.core.base.errors import MissingResultError, UsageError
from stages.core.params.tree import parse_params
from stages.core.tfod.export_config import describe_export, export_config
from stages.core.tfod.import_config import convert_config
from stages.core.tfod.schema import check_fields
from stages.core.tfod.textformat import parse_text
from stages.core.tfod.topics import in_use, resolve_params

SAMPLES = Path(os.environ.get("DETECTION_SAMPLES", "none"), "tfod", "pipeline_configs")


def project(folder: Path, tree: dict[str, Any], num_classes: int = 2) -> Path:
    """A project with these parameters and prepared labels."""
    (folder / "params.yaml").write_text(yaml.safe_dump(tree))
    prepared = folder / "data" / "prepared"
    prepared.mkdir(parents=True, exist_ok=True)
    labels = {key: f"class {key}" for key in range(1, num_classes + 1)}
    (prepared / "labels.json").write_text(json.dumps(labels))
    (prepared / "label_map.pbtxt").write_text("".join(f"item {{ id: {k} name: '{v}' }}\n" for k, v in labels.items()))
    return folder


def params(model: str, **train: Any) -> dict[str, Any]:
    return {"models": [model], "schemes": ["float32"], "train": {model: train}}


@pytest.mark.parametrize(
    "model",
    [
        "ssdlite_mobiledet_cpu",
        "ssdlite_mobiledet_edgetpu",
        "ssdlite_mobiledet_dsp",
        "ssdlite_mobiledet_gpu",
        "ssdlite_mobilenetv2",
        "maskrcnn_resnet50",
    ],
)
def test_a_config_of_every_row_that_the_api_has(model: str, tmp_path: Path) -> None:
    exported = export_config(project(tmp_path, params(model)), model)
    check_fields(parse_text(exported.text), "exported")
    imported = convert_config(exported.text, "exported", folders=(tmp_path,))
    assert imported.tree["models"] == [model]
    assert imported.labels == {1: "class 1", 2: "class 2"}
    told = "\n".join(describe_export(exported))
    values = resolve_params(parse_params(params(model)), model)
    unsaid = [key for key in in_use(values) if key not in told and "anchors." not in key]
    assert not unsaid


SETTINGS: dict[str, dict[str, Any]] = {
    "momentum": {
        "optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.0001, "ema_decay": 0.0, "learning_rate": 0.05,
        "schedule": "constant", "warmup_steps": 0, "steps": 700, "batch_size": 3, "gradient_clip_norm": 2.5,
        "input_size": [192, 320], "resize": "stretch",
        "ssd_anchors": {"min_scale": 0.1, "max_scale": 0.9, "aspect_ratios": [1.0, 3.0]},
    },
    "augmented": {
        "optimizer": "adamw", "weight_decay": 0.0, "ema_decay": 0.99, "schedule": "constant", "warmup_steps": 0,
        "ssd_anchors": {"between_scales": False, "fewer_on_first_map": False},
        "augmentation": {
            "horizontal_flip": False, "scale_min": 0.5, "scale_max": 1.5, "orientation_free": True, "color_jitter": 0.3,
            "random_crop": 0.6, "policy": "autoaug",
        },
        "losses": {"box": "giou"}, "init_checkpoint": "a/ckpt-1", "init_modules": ["backbone"],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_parameters_come_back(name: str, tmp_path: Path) -> None:
    tree = params("ssdlite_mobiledet_cpu", **SETTINGS[name])
    tree["export"] = {"max_detections": 17, "score_threshold": 0.25, "class_agnostic_nms": True}
    exported = export_config(project(tmp_path, tree), "ssdlite_mobiledet_cpu")
    back = resolve_params(
        parse_params(convert_config(exported.text, "it", folders=(tmp_path,)).tree), "ssdlite_mobiledet_cpu"
    )
    assert back == resolve_params(parse_params(tree), "ssdlite_mobiledet_cpu")


@pytest.mark.parametrize("text", [SSD, MASK_RCNN], ids=["ssd", "mask_rcnn"])
def test_what_a_config_says_comes_back(text: str, tmp_path: Path) -> None:
    first = convert_config(text, "it.config")
    (row,) = first.tree["models"]
    exported = export_config(
        project(tmp_path, first.tree, num_classes=first.tree["prepare"].get("min_classes", 2)), row
    )
    second = convert_config(exported.text, "exported", folders=(tmp_path,))
    assert second.tree == first.tree


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("rate", sorted(LEARNING_RATES))
def test_schedules_and_optimizers_come_back(rate: str, optimizer: str, tmp_path: Path) -> None:
    first = convert_config(with_optimizer(rate, optimizer), "it.config")
    exported = export_config(project(tmp_path, first.tree), "ssdlite_mobiledet_dsp")
    assert convert_config(exported.text, "exported", folders=(tmp_path,)).tree == first.tree


def test_an_edited_config_keeps_its_comments_and_everything_else(tmp_path: Path) -> None:
    tree = convert_config(SSD, "it.config").tree
    tree["train"]["ssdlite_mobiledet_dsp"] |= {"batch_size": 4, "learning_rate": 0.01}
    exported = export_config(project(tmp_path, tree), "ssdlite_mobiledet_dsp", like=("it.config", SSD))
    before, after = SSD.splitlines(), exported.text.splitlines()
    assert "batch_size: 4" in exported.text
    assert "num_steps: 5000  # a night" in exported.text
    outside = [line for line in before if line not in after]
    start = before.index("  optimizer {")
    assert set(outside) <= {
        "  batch_size: 16",
        *before[start : before.index('  fine_tune_checkpoint: "weights/ckpt-0"')],
    }
    unchanged = convert_config(SSD, "it.config").tree
    assert export_config(project(tmp_path, unchanged), "ssdlite_mobiledet_dsp", like=("it.config", SSD)).text == SSD


def test_what_the_api_cannot_say_is_listed(tmp_path: Path) -> None:
    tree = params("ssdlite_mobiledet_cpu", losses={"box": "ciou", "classes": "varifocal"}, augmentation={"mosaic": 0.5})
    missing = export_config(project(tmp_path, tree), "ssdlite_mobiledet_cpu").missing
    assert missing["train.losses.box"] == "the API has Huber and GIoU"
    assert missing["train.losses.classes"] == "the API has focal loss"
    assert missing["train.augmentation.mosaic"] == "the API has no such augmentation"
    assert missing["train.weight_decay"] == "the API's Adam has no weight decay of its own"
    assert missing["train.validation_interval"] == "the API has no such parameter"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"maskrcnn_mobiledet: the Object Detection API has no such model"):
        export_config(project(tmp_path, params("maskrcnn_mobiledet")), "maskrcnn_mobiledet")
    with pytest.raises(
        UsageError, match=r"its model is ssd_mobiledet_dsp \(ssdlite_mobiledet_dsp\), not ssdlite_mobiledet_cpu"
    ):
        export_config(project(tmp_path, params("ssdlite_mobiledet_cpu")), "ssdlite_mobiledet_cpu", like=("it", SSD))
    (tmp_path / "data" / "prepared" / "labels.json").unlink()
    with pytest.raises(MissingResultError, match="run the stage that writes it first"):
        export_config(tmp_path, "ssdlite_mobiledet_cpu")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="DETECTION_SAMPLES is not set")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("ssdlite_mobiledet*")), ids=lambda path: path.name)
def test_published_configs_come_back(path: Path, tmp_path: Path) -> None:
    first = convert_config(path.read_text(), str(path))
    (row,) = first.tree["models"]
    exported = export_config(project(tmp_path, first.tree, num_classes=90), row)
    assert convert_config(exported.text, "exported", folders=(tmp_path,)).tree == first.tree
    edited = export_config(tmp_path, row, like=(str(path), path.read_text()))
    assert edited.text == path.read_text()
