"""From a config of the API to parameters: values, differences that are told, and no field that gets lost."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_config import MASK_RCNN, SSD, with_optimizer

from stages.core.base.errors import ForeignConfigError
from stages.core.params.tree import load_params
from stages.core.tables.detectors import DETECTORS
from stages.core.tfod.families import COUNTERPARTS, FULL_CONVOLUTIONS, NEAREST
from stages.core.tfod.import_config import ImportedConfig, convert_config, describe, import_config, render_params
from stages.core.tfod.schema import leaves
from stages.core.tfod.textformat import parse_text

SAMPLES = Path(os.environ.get("DETECTION_SAMPLES", "none"), "tfod", "pipeline_configs")
NAMES = sorted(path.name for path in SAMPLES.glob("*.config"))
needs_samples = pytest.mark.skipif(not NAMES, reason="DETECTION_SAMPLES is not set")


def section(imported: ImportedConfig) -> dict[str, Any]:
    found: dict[str, Any] = imported.tree["train"][imported.counterpart.row]
    return found


def reasons(imported: ImportedConfig) -> dict[str, str]:
    return {unused.path: unused.reason for unused in imported.unused}


def all_accounted_for(imported: ImportedConfig, text: str) -> None:
    """Every leaf of the config is either used, itself or with its message, or listed with a reason."""
    used = [use for use in imported.uses if use.line]
    listed = {(unused.path, unused.line) for unused in imported.unused}
    for path, field in leaves(parse_text(text)):
        plain = [use.path.replace("[0]", "").replace("[1]", "").replace("[2]", "") for use in used]
        assert (path, field.line) in listed or any(path == use or path.startswith(f"{use}.") for use in plain), path
    assert all(unused.reason for unused in imported.unused)


def test_a_one_stage_detector() -> None:
    imported = convert_config(SSD, "it.config")
    train = section(imported)
    assert imported.tree["models"] == ["ssdlite_mobiledet_dsp"]
    assert "qat_int8" in imported.tree["schemes"]
    assert train["input_size"] == [300, 320]
    assert (train["steps"], train["batch_size"], train["gradient_clip_norm"]) == (4000, 16, 0.0)
    assert (train["optimizer"], train["momentum"], train["weight_decay"]) == ("sgd", 0.95, 4e-5)
    assert (train["learning_rate"], train["schedule"], train["warmup_steps"]) == (0.08, "cosine", 500)
    assert train["ssd_anchors"] == {
        "min_scale": 0.15, "max_scale": 0.95, "aspect_ratios": [1.0, 2.0, 0.5], "between_scales": True,
        "fewer_on_first_map": True,
    }  # fmt: skip
    assert (train["init_checkpoint"], train["init_modules"]) == ("weights/ckpt-0", ["backbone"])
    assert train["augmentation"] == {
        "horizontal_flip": True, "scale_min": 1.0, "scale_max": 1.0, "random_crop": 1.0
    }  # fmt: skip
    assert "task" not in train["overrides"]  # losses and box codes are the row's
    assert imported.tree["export"] == {
        "score_threshold": 1e-8, "nms_iou_threshold": 0.6, "max_detections": 50, "class_agnostic_nms": False
    }  # fmt: skip
    # The cosine at step 4,000 of 5,000, 500 of them warm-up: 0.08 * (1 + cos(pi * 3500 / 4500)) / 2.
    qat = imported.tree["qat"]
    assert (qat["steps"], qat["schedule"], qat["warmup_steps"]) == (1000, "cosine", 0)
    assert qat["learning_rate"] == pytest.approx(0.0093582, rel=1e-4)
    told = reasons(imported)
    assert told["train_config.data_augmentation_options.random_rgb_to_gray"].startswith("no augmentation")
    assert told["train_input_reader.label_map_path"] == "a placeholder"
    assert "graph_rewriter.quantization.weight_bits" in told


def test_only_separable_predictors_make_it_an_ssdlite() -> None:
    assert convert_config(SSD, "it.config").counterpart.differs == FULL_CONVOLUTIONS
    predictor = "box_predictor { convolutional_box_predictor { use_depthwise: true } }"
    lite = SSD.replace("feature_extractor {", f"{predictor} feature_extractor {{ use_depthwise: true ")
    assert convert_config(lite, "it.config").counterpart.differs == ""
    assert convert_config(lite.replace("ssd_mobiledet_dsp", "ssd_mobilenet_v2"), "it").tree["models"] == [
        "ssdlite_mobilenetv2"
    ]


def test_a_detector_with_masks() -> None:
    imported = convert_config(MASK_RCNN, "it.config")
    train = section(imported)
    assert imported.tree["models"] == ["maskrcnn_resnet50"]
    assert imported.tree["prepare"]["min_classes"] == 1
    assert train["input_size"] == [1024, 1024]
    assert train["ema_decay"] == 0.9999
    assert train["anchors"] == {"aspect_ratios": [0.5, 1.0, 2.0], "size": 8.0, "num_scales": 1}
    stepwise = train["overrides"]["trainer"]["optimizer_config"]["learning_rate"]["stepwise"]
    assert stepwise == {"boundaries": [6000, 8000], "values": [0.003, 3e-4, 3e-5]}
    assert (imported.tree["export"]["max_detections"], imported.tree["export"]["num_proposals"]) == (300, 150)


def test_the_weight_of_the_box_loss_is_a_whole_number() -> None:
    text = SSD.replace("localization_loss {", "localization_weight: 0.6 localization_loss {")
    text = text.replace("normalize_loc_loss_by_codesize: true", "")
    imported = convert_config(text, "it.config")
    assert section(imported)["overrides"]["task"]["losses"]["box_loss_weight"] == 2
    (use,) = [use for use in imported.uses if use.path == "model.ssd.loss.localization_weight"]
    assert use.note.endswith("whole numbers only, 2.4 asked for")


@pytest.mark.parametrize("text", [SSD, MASK_RCNN, with_optimizer("steps_after_warmup", "rms_prop_optimizer")])
def test_the_result_is_a_parameter_file_that_accounts_for_every_field(text: str, tmp_path: Path) -> None:
    imported = convert_config(text, "it.config")
    all_accounted_for(imported, text)
    written = render_params(imported)
    (tmp_path / "params.yaml").write_text(written)
    params = load_params(tmp_path)
    assert params.models == (imported.counterpart.row,)
    assert yaml.safe_load(written) == imported.tree
    told = "\n".join(describe(imported))
    assert all(unused.path in told for unused in imported.unused)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("random_rgb_to_gray { }", "random_adjust_hue { }", {"color_jitter": 0.4}),
        ("random_rgb_to_gray { }", "random_distort_color { }", {"color_jitter": 1.0}),
        ("random_rgb_to_gray { }", "autoaugment_image { policy_name: 'v1' }", {"policy": "autoaug"}),
        (
            "random_rgb_to_gray { }",
            "random_scale_crop_and_pad_to_square { output_size: 320 scale_max: 1.5 }",
            {"scale_min": 0.1, "scale_max": 1.5},
        ),
        ("ssd_random_crop { }", "random_crop_image { random_coef: 0.25 }", {"random_crop": 0.75}),
        ("ssd_random_crop { }", "random_vertical_flip { }", {"orientation_free": None}),
        ("random_horizontal_flip { }", "random_horizontal_flip { probability: 0.3 }", {"horizontal_flip": False}),
    ],
)
def test_augmentations(old: str, new: str, expected: dict[str, Any]) -> None:
    imported = convert_config(SSD.replace(old, new), "it.config")
    found = section(imported)["augmentation"]
    assert {key: found.get(key) for key in expected} == expected
    all_accounted_for(imported, SSD.replace(old, new))


def test_flips_and_turns_together_are_orientation_free() -> None:
    text = SSD.replace("ssd_random_crop", "random_vertical_flip").replace("random_rgb_to_gray", "random_rotation90")
    assert section(convert_config(text, "it.config"))["augmentation"]["orientation_free"] is True


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("models: [a]\n", "models", "expected one model, as in `model { ssd { ... } }`, found none"),
        ("# nothing\n", "# nothing", "no field at all"),
        (SSD[: SSD.index("\n    loss {")], "box_coder", "the file ends inside 'ssd', opened on line 3: truncated?"),
        (SSD.replace("num_steps", "number_steps"), "number_steps", "unknown field; did you mean 'num_steps'?"),
        (
            SSD.replace("num_classes: 2", "num_classes: 2 num_classes: 3"),
            "num_classes",
            "is there twice, again on line 4",
        ),
        (SSD.replace("model {\n  ssd", "model {\n  center_net"), "type:", "center_net with feature extractor"),
        (MASK_RCNN.replace("number_of_stages: 3", ""), "type:", "without masks"),
        (
            SSD.replace("ssd_mobiledet_dsp", "ssd_resnet50_v1_fpn"),
            "type:",
            "extractor 'ssd_resnet50_v1_fpn' has no counterpart here; the nearest row is retinanet_mobiledet_gpu",
        ),
        (SSD.replace("batch_size: 16", "batch_size: 'x'"), "batch_size", 'expected a whole number, found "x"'),
        (
            SSD.replace("total_steps: 5000", "total_steps: 5"),
            "cosine_decay_learning_rate",
            "total_steps 5 must be above warmup_steps 500",
        ),
        (
            SSD.replace('"detection"', '"all"'),
            "fine_tune_checkpoint_type",
            "expected one of classification, detection, fine_tune, full, found 'all'",
        ),
    ],
)
def test_mistakes_have_a_line(text: str, at: str, says: str) -> None:
    with pytest.raises(ForeignConfigError) as told:
        convert_config(text, "it.config")
    line = text[: text.index(at)].count("\n") + 1
    assert str(told.value).startswith(f"it.config: line {line}: ")
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SSD.replace("fixed_shape_resizer { height: 300 width: 320 }", "identity_resizer { }"), "found identity_r"),
        (SSD.replace("batch_size: 16", "batch_size: 0"), "train.ssdlite_mobiledet_dsp.batch_size"),
        (SSD.replace("num_classes: 2", ""), "num_classes: expected a number above 0, found none"),
        (SSD.replace("momentum_optimizer {", "nothing {").replace("nothing", "[a.b]"), "expected one of momentum"),
    ],
)  # fmt: skip
def test_values_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(ForeignConfigError, match=r"it\.config") as told:
        convert_config(text, "it.config")
    assert says in str(told.value)


def test_unknown_fields_are_listed_if_asked_to() -> None:
    text = SSD.replace("num_steps: 5000", "num_steps: 5000 from_the_future { a: 7 }")
    imported = convert_config(text, "it.config", ignore_unknown=True)
    assert reasons(imported)["train_config.from_the_future"] == "not a field of the API (--ignore-unknown)"


def test_the_label_map_is_read_and_must_fit(tmp_path: Path) -> None:
    config = tmp_path / "it.config"
    config.write_text(SSD.replace("PATH_TO_BE_CONFIGURED/label_map.pbtxt", "map.pbtxt"))
    with pytest.raises(
        ForeignConfigError, match=r"line 41: train_input_reader.label_map_path: no such file: 'map.pbtxt'"
    ):
        import_config(config)
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'fig' }\nitem { id: 3 name: 'nut' }")
    with pytest.raises(ForeignConfigError, match=r"line 4: .* 2 classes, but the label map has 'nut' with id 3"):
        import_config(config)
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'fig' }")
    assert import_config(config).labels == {1: "fig"}


def test_the_table_of_counterparts_names_rows() -> None:
    assert {row.row for row in COUNTERPARTS} | set(NEAREST.values()) <= set(DETECTORS)
    exported = [row.row for row in COUNTERPARTS if row.exported]
    assert len(exported) == len(set(exported))


@needs_samples
@pytest.mark.parametrize("name", NAMES)
def test_published_configs(name: str, tmp_path: Path) -> None:
    text = (SAMPLES / name).read_text()
    if name.startswith(("ssdlite_mobiledet", "mask_rcnn_resnet50")):
        imported = import_config(SAMPLES / name)
        all_accounted_for(imported, text)
        (tmp_path / "params.yaml").write_text(render_params(imported))
        load_params(tmp_path)
        assert {"no counterpart here"}.isdisjoint(reasons(imported).values())
    else:
        with pytest.raises(ForeignConfigError, match="the nearest row is maskrcnn_resnet50"):
            import_config(SAMPLES / name)
