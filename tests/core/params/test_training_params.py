"""Mistakes in the parameters of a training are one line that says what was found and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.core.base.errors import ParamsError
from stages.core.params.tree import check_sections, parse_params

MODEL = "retinanet_mobiledet_tiny"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"losses": {"assigner": "simota"}}, ("losses.assigner", "simota", "iou", "atss", "task_aligned")),
        ({"losses": {"box": "l1"}}, ("losses.box", "l1", "huber", "giou", "ciou")),
        ({"losses": {"classes": "softmax"}}, ("losses.classes", "softmax", "focal", "varifocal")),
        ({"losses": {"mask": "iou"}}, ("losses.mask", "bce", "dice", "bce_dice")),
        ({"losses": {"class_weights": "inverse"}}, ("losses.class_weights", "none", "balanced")),
        ({"losses": {"boxes": "giou"}}, ("losses.boxes", "box")),
        ({"augmentation": {"mosaik": 0.5}}, ("augmentation.mosaik", "mosaic")),
        ({"augmentation": {"mosaic": 1.5}}, ("augmentation.mosaic", "1.5", "1")),
        ({"augmentation": {"color_jitter": -0.1}}, ("augmentation.color_jitter", "-0.1", "0")),
        ({"max_minutes": 0}, ("max_minutes", "0")),
        ({"max_minutes": "soon"}, ("max_minutes", "soon")),
        ({"image_cache_mb": -1}, ("image_cache_mb", "-1", "0")),
        ({"anchors": {"fit": "maybe"}}, ("anchors.fit", "maybe")),
        (
            {"anchors": {"fit": True}, "overrides": {"task": {"model": {"anchor": {"num_scales": 1}}}}},
            ("overrides", "task.model.anchor", "anchors.fit"),
        ),
        ({"width": 0}, ("width", "0.1")),
        ({"regions": {"num_proposals": 100}}, ("regions", "retinanet", "maskrcnn_mobiledet")),
        ({"layer_decay": 0}, ("layer_decay", "0", "greater than 0")),
        ({"layer_decay": 1.1}, ("layer_decay", "1.1", "1")),
        ({"recalibrate_batch_norm": -1}, ("recalibrate_batch_norm", "-1", "0")),
        ({"freeze_backbone_steps": 100, "steps": 100}, ("freeze_backbone_steps 100", "below steps 100")),
        ({"freeze_backbone_steps": 1, "freeze_backbone": True}, ("freeze_backbone_steps 1", "freeze_backbone true")),
        ({"layer_decay": 0.5, "freeze_backbone": True}, ("layer_decay 0.5", "freeze_backbone true")),
        ({"multi_scale": {"sizes": [[128, 100]]}}, ("multi_scale: [128, 100]", "multiples of 64")),
        ({"multi_scale": {"sizes": [[16, 64]]}}, ("multi_scale.sizes", "[16, 64]", "at least 32")),
        ({"multi_scale": {"sizes": [[256, 256]]}}, ("multi_scale.sizes: [256, 256] is input_size",)),
        ({"multi_scale": {"sizes": [[320, 320]]}}, ("multi_scale.sizes: [320, 320] has more pixels", "order random")),
        ({"multi_scale": {"order": "shrinking"}}, ("multi_scale.order", "shrinking", "growing", "random")),
        ({"multi_scale": {"final_share": 1.0}}, ("multi_scale.final_share", "1")),
        ({"resize": "crop"}, ("resize", "crop", "letterbox", "stretch")),
        ({"learning_rate_floor": 1.5}, ("learning_rate_floor", "1.5", "1")),
        ({"learning_rate_floor": 0.1, "schedule": "constant"}, ("learning_rate_floor 0.1", "cosine", "constant")),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_mistake_names_the_key_and_what_is_allowed(settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    tree = {"models": [MODEL], "schemes": ["float32"], "train": {MODEL: settings}}
    with pytest.raises(ParamsError) as error:
        parse_params(tree)
    message = str(error.value)
    assert "\n" not in message
    for part in (f"train.{MODEL}", *expected):
        assert part in message, message


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("ssdlite_tiny", {"anchors": {"size": 3}}, ("anchors", "ssdlite", "ssd_anchors")),
        ("ssdlite_tiny", {"ssd_anchors": {"min_scale": 0.9, "max_scale": 0.5}}, ("min_scale 0.9", "max_scale 0.5")),
        ("ssdlite_tiny", {"ssd_anchors": {"size": 3}}, ("ssd_anchors.size", "min_scale")),
        ("ssdlite_tiny", {"input_size": [16, 300]}, ("input_size", "16", "at least 32")),
        ("maskrcnn_tiny", {"ssd_anchors": {"min_scale": 0.1}}, ("ssd_anchors", "maskrcnn", "anchors")),
        ("maskrcnn_tiny", {"input_size": [300, 320]}, ("input_size", "[300, 320]", "multiples of 64")),
        ("maskrcnn_tiny", {"regions": {"box_crop_size": 0}}, ("regions.box_crop_size", "0", "1")),
        ("maskrcnn_tiny", {"regions": {"mask_crop_size": 100}}, ("regions.mask_crop_size", "100", "56")),
        ("maskrcnn_tiny", {"regions": {"sampling_ratio": 5}}, ("regions.sampling_ratio", "5", "4")),
        ("maskrcnn_tiny", {"regions": {"num_proposals": 0}}, ("regions.num_proposals", "0")),
        ("maskrcnn_tiny", {"regions": {"proposals": 9}}, ("regions.proposals", "num_proposals")),
        ("maskrcnn_resnet50", {"width": 0.5}, ("width: resnet50", "expected 1, found 0.5", "retinanet_mobilenetv2")),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_only_some_models_have(model: str, settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    with pytest.raises(ParamsError) as error:
        parse_params({"models": [model], "schemes": ["float32"], "train": {model: settings}})
    message = str(error.value)
    assert "\n" not in message
    for part in (f"train.{model}.", *expected):
        assert part in message, message


def test_regions_in_the_common_section_are_for_those_that_have_them() -> None:
    train = {"common": {"regions": {"box_crop_size": 9}}}
    params = parse_params({"models": [MODEL, "maskrcnn_tiny"], "schemes": ["float32"], "train": train})
    assert params.train_settings("maskrcnn_tiny").regions.box_crop_size == 9


def test_what_belongs_to_the_first_training_is_off_in_refinements() -> None:
    first = {"freeze_backbone_steps": 5, "layer_decay": 0.7, "recalibrate_batch_norm": 64, "ema_decay": 0.9}
    others = {"resize": "stretch", "multi_scale": {"sizes": [[128, 128]]}}
    params = parse_params({"models": [MODEL], "schemes": ["float32"], "train": {MODEL: {**first, **others}}})
    for section in (params.prune, params.qat):
        refined = params.refine_settings(MODEL, section)
        assert [getattr(refined, name) for name in first] == [0, 1.0, 0, 0.0]
        assert refined.resize == "stretch"
        assert refined.multi_scale.sizes == ()


def test_by_the_clock_the_frozen_phase_is_not_compared_with_steps() -> None:
    settings = {"freeze_backbone_steps": 5000, "max_minutes": 10}
    params = parse_params({"models": [MODEL], "schemes": ["float32"], "train": {MODEL: settings}})
    assert params.train_settings(MODEL).freeze_backbone_steps == 5000


def test_refinements_are_not_by_the_clock() -> None:
    params = parse_params({"models": [MODEL], "schemes": ["float32"], "train": {MODEL: {"max_minutes": 5}}})
    assert params.train_settings(MODEL).max_minutes == 5
    assert params.refine_settings(MODEL, params.qat).max_minutes is None


SECTIONS = {
    "key misspelt in common": ({"common": {"stepz": 5}, MODEL: {}}, "train.common.stepz: unknown key"),
    "key misspelt in the model's own": ({"common": {}, MODEL: {"stepz": 5}}, f"train.{MODEL}.stepz: unknown key"),
    "nested, in common": (
        {"common": {"augmentation": {"mosaik": 1}}, MODEL: {"augmentation": {"mosaic": 0.5}}},
        "train.common.augmentation.mosaik: unknown key",
    ),
    "value wrong in common": ({"common": {"steps": -5}, MODEL: {}}, "train.common.steps: "),
    "value wrong in both": ({"common": {"steps": -5}, MODEL: {"steps": -6}}, f"train.{MODEL}.steps: "),
    "value of a list in common": ({"common": {"input_size": [128, "x"]}}, "train.common.input_size"),
    "rule of a field in common": ({"common": {"input_size": [100, 100]}, MODEL: {}}, "train.common.input_size: [100"),
    "no section common": ({MODEL: {"stepz": 5}}, f"train.{MODEL}.stepz"),
}


@pytest.mark.parametrize(("train", "expected"), SECTIONS.values(), ids=SECTIONS)
def test_a_mistake_is_reported_where_it_is_written(train: dict[str, Any], expected: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params({"models": [MODEL], "schemes": ["int8"], "train": train})
    assert expected in str(caught.value)


@pytest.mark.parametrize("path", ["prepare", "gate", "validate", "train", "train.common", f"train.{MODEL}", "qat"])
def test_a_section_that_dvc_tracks_is_missed_by_name(path: str, tmp_path: Path) -> None:
    tree = yaml.safe_load((Path(__file__).resolve().parents[3] / "params.yaml").read_text()) | {"models": [MODEL]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    check_sections(tmp_path)
    section = tree
    *parents, key = path.split(".")
    for parent in parents:
        section = section[parent]
    del section[key]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ParamsError, match=f"no section {path}, which dvc.yaml tracks"):
        check_sections(tmp_path)
