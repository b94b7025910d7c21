"""TF1 MobileDet checkpoints in our backbones: every name, every shape, and the same feature maps."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.base.errors import CheckpointError
from stages.core.detectors.tf1_names import backbone_tf1_names
from stages.core.detectors.variables import list_variables
from stages.core.tables.detectors import DETECTORS
from stages.core.training.initializing.load import load_weights
from stages.core.training.initializing.target import make_target
from tests import checkpoint_builder as build
from tests.api_mobiledet import BLOCKS, compute_features

pytestmark = pytest.mark.slow

SAMPLES = os.environ.get("DETECTION_SAMPLES")
needs_samples = pytest.mark.skipif(not SAMPLES, reason="DETECTION_SAMPLES is not set: no names of real checkpoints")
ROWS = {name: f"retinanet_mobiledet_{name.removeprefix('MobileDet').lower()}" for name in BLOCKS}
PIXELS = np.random.default_rng(1).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)


def tf1_shapes(model: Any, backbone: str) -> dict[str, tuple[int, ...]]:
    """TF1 names of a model's backbone, with the shapes of its variables."""
    variables = list_variables(model.backbone, "backbone")
    names = backbone_tf1_names(model.backbone, backbone)
    assert names.keys() == variables.keys()
    return {names[path]: tuple(variable.shape) for path, variable in variables.items()}


@pytest.mark.parametrize("backbone", BLOCKS)
def test_feature_maps_are_the_apis(backbone: str, tmp_path: Path) -> None:
    model = build.backbone_model(ROWS[backbone])
    values = build.random_values(tf1_shapes(model, backbone))
    slots = {f"{name}/Momentum": np.zeros_like(value) for name, value in values.items() if "moving" not in name}
    prefix = build.write_tf1(tmp_path / "model.ckpt-400000", {**values, **slots, "global_step": np.int64(400000)})
    record = load_weights(
        model, DETECTORS[ROWS[backbone]], build.open_checkpoint(prefix, tmp_path), "all", build.LABELS
    )
    assert record.kind == "Object Detection API TF1 checkpoint"
    assert (record.parts[0].part, record.parts[0].loaded) == ("backbone", len(values))
    assert record.parts[0].loaded == record.parts[0].variables
    assert record.unused == 1  # global_step
    assert not record.notes  # epsilon and pixels are the row's own
    found, wanted = model.backbone(PIXELS, training=False), compute_features(backbone, values, PIXELS)
    assert found.keys() == wanted.keys()
    for level, features in wanted.items():
        np.testing.assert_allclose(found[level], features, rtol=0, atol=1e-4 * np.abs(features).max(), err_msg=level)


def test_a_difference_of_epsilons_is_made_up_exactly(tmp_path: Path) -> None:
    # A graph beside the checkpoint says that it was trained with another epsilon than the API's code has.
    backbone, row = "MobileDetEdgeTPU", "retinanet_mobiledet_edgetpu"
    model = build.backbone_model(row)
    values = build.random_values(tf1_shapes(model, backbone))
    norms = [name.removesuffix("/moving_variance") for name in values if name.endswith("moving_variance")]
    there = {name: value + np.float32(0.009 * name.endswith("moving_variance")) for name, value in values.items()}
    prefix = build.write_tf1(tmp_path / "model.ckpt", there)
    build.write_meta(prefix, dict.fromkeys(norms, 0.001))
    record = load_weights(model, DETECTORS[row], build.open_checkpoint(prefix, tmp_path), ["backbone"], build.LABELS)
    assert record.notes == (f"{len(norms)} variances moved by the difference of epsilons (0.001 there, 0.01 here)",)
    found, wanted = model.backbone(PIXELS, training=False), compute_features(backbone, values, PIXELS)
    for level, features in wanted.items():
        np.testing.assert_allclose(found[level], features, rtol=0, atol=1e-4 * np.abs(features).max())


def test_frozen_graphs_averages_and_fake_quant_ranges(tmp_path: Path) -> None:
    backbone, row = "MobileDetEdgeTPU", "retinanet_mobiledet_edgetpu"
    model = build.backbone_model(row)
    values = build.random_values(tf1_shapes(model, backbone))
    raw = {name: value + 1 for name, value in values.items()}
    averages = {f"{name}/ExponentialMovingAverage": value for name, value in values.items()}
    ranges = {
        f"FeatureExtractor/{backbone}/Conv/{kind}/{end}": np.float32(1)
        for kind in ("act_quant", "weights_quant")
        for end in ("min", "max")
    }
    sources = {
        "Object Detection API TF1 checkpoint": build.write_tf1(tmp_path / "ema.ckpt", {**raw, **averages, **ranges}),
        "TF1 frozen graph": build.write_frozen(tmp_path / "frozen.pb", values),
    }
    for kind, source in sources.items():
        fresh = build.backbone_model(row)
        fresh.backbone.layers[1].weights[0].assign(tf.zeros([3, 3, 3, 32]))
        record = load_weights(fresh, DETECTORS[row], build.open_checkpoint(source, tmp_path), "all", build.LABELS)
        assert (record.kind, record.parts[0].loaded, record.unused) == (kind, 285, 0)
        np.testing.assert_array_equal(
            fresh.backbone.layers[1].weights[0], values[f"FeatureExtractor/{backbone}/Conv/weights"]
        )
    assert (
        "285 variables by their moving average"
        in load_weights(
            model, DETECTORS[row], build.open_checkpoint(tmp_path / "ema.ckpt", tmp_path), "all", build.LABELS
        ).notes
    )


@needs_samples
@pytest.mark.parametrize("backbone", BLOCKS)
def test_names_are_those_of_the_maps(backbone: str) -> None:
    assert SAMPLES
    tree = json.loads((Path(SAMPLES) / "tfod" / "ckpt_names" / f"map_{backbone}.json").read_text())
    target = make_target(DETECTORS[ROWS[backbone]], build.backbone_model(ROWS[backbone]), "all", {})
    wanted = {path: (entry["tf1"], tuple(entry["shape"])) for path, entry in tree["places"].items()}
    names = backbone_tf1_names(target.model.backbone, backbone)
    assert {path: (names[path], tuple(value.shape)) for path, value in target.variables.items()} == wanted


@needs_samples
@pytest.mark.parametrize(
    ("listing", "backbone", "num"),
    [
        ("zoo_ssdlite_mobiledet_cpu_320x320_coco_2020_05_19", "MobileDetCPU", 361),
        ("zoo_ssdlite_mobiledet_edgetpu_fp32_reexported", "MobileDetEdgeTPU", 285),
        ("zoo_ssdlite_mobiledet_edgetpu_uint8_qat_reexported", "MobileDetEdgeTPU", 285),
        ("finetuned_ssdlite_mobiledet_edgetpu_qat_training", "MobileDetEdgeTPU", 285),
    ],
)
def test_real_checkpoints_have_these_names_and_shapes(listing: str, backbone: str, num: int) -> None:
    assert SAMPLES
    shapes = build.real_listing(Path(SAMPLES), listing)
    target = make_target(DETECTORS[ROWS[backbone]], build.backbone_model(ROWS[backbone]), "all", {})
    names = backbone_tf1_names(target.model.backbone, backbone)
    assert len(names) == num
    assert {path: shapes[name] for path, name in names.items()} == {
        path: tuple(value.shape) for path, value in target.variables.items()
    }


def test_another_backbone_is_refused_with_the_rows_that_it_fits(tmp_path: Path) -> None:
    other = build.backbone_model("retinanet_mobiledet_dsp")
    prefix = build.write_tf1(tmp_path / "model.ckpt", build.random_values(tf1_shapes(other, "MobileDetDSP")))
    model = build.backbone_model("retinanet_mobilenetv2")
    before = [value.numpy() for value in model.weights]
    with pytest.raises(
        CheckpointError, match=r"backbone is a MobileDetDSP, which fits retinanet_mobiledet_dsp.*cannot start"
    ):
        load_weights(
            model, DETECTORS["retinanet_mobilenetv2"], build.open_checkpoint(prefix, tmp_path), "all", build.LABELS
        )
    assert all(np.array_equal(value, now) for value, now in zip(before, model.weights, strict=True))


FOREIGN = {
    "FirstStageFeatureExtractor/resnet_v1_50/conv1/weights": "is a ResNet v1, whose strides",
    "FirstStageFeatureExtractor/InceptionResnetV2/Conv2d_1a_3x3/weights": "is an Inception-ResNet v2, which no row has",
    "FeatureExtractor/MobilenetV1/Conv2d_0/weights": "is a MobileNet v1, which no row has",
    "layers/0/w": "no backbone that is known (it holds layers)",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_row_has_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    row = "retinanet_mobiledet_edgetpu"
    prefix = build.write_tf1(tmp_path / "model.ckpt", {name: np.ones([3, 3, 3, 8], np.float32)})
    with pytest.raises(CheckpointError, match=re.escape(FOREIGN[name])):
        load_weights(
            build.backbone_model(row), DETECTORS[row], build.open_checkpoint(prefix, tmp_path), "all", build.LABELS
        )


def test_another_width_is_refused(tmp_path: Path) -> None:
    full, row = build.backbone_model("retinanet_mobiledet_edgetpu"), "retinanet_mobiledet_tiny"
    prefix = build.write_tf1(tmp_path / "model.ckpt", build.random_values(tf1_shapes(full, "MobileDetEdgeTPU")))
    model = build.narrow_model()
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, DETECTORS[row], build.open_checkpoint(prefix, tmp_path), "all", build.LABELS)
    assert re.search(
        r"of this width: \d+ of \d+ variables differ \(backbone/layer.*It fits .*maskrcnn_mobiledet", str(caught.value)
    )


@pytest.mark.parametrize("fault", ["truncated", "missing", "index", "not-finite"])
def test_a_damaged_checkpoint_changes_nothing(fault: str, tmp_path: Path) -> None:
    model = build.narrow_model()
    values = build.random_values(tf1_shapes(model, "MobileDetEdgeTPU"))
    if fault == "not-finite":
        values["FeatureExtractor/MobileDetEdgeTPU/Conv/weights"][0] = np.nan
    prefix = build.write_tf1(tmp_path / "model.ckpt", values)
    data, index = Path(f"{prefix}.data-00000-of-00001"), Path(f"{prefix}.index")
    says = "model.ckpt.data-00000-of-00001.*nothing was loaded"
    if fault == "truncated":
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    elif fault == "missing":
        data.unlink()
        says = "no data file model.ckpt.data-"
    elif fault == "index":
        index.write_bytes(index.read_bytes()[:40])
    before = [value.numpy() for value in model.weights]
    with pytest.raises(CheckpointError, match=says) as caught:
        load_weights(
            model, DETECTORS["retinanet_mobiledet_tiny"], build.open_checkpoint(prefix, tmp_path), "all", build.LABELS
        )
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(value, now) for value, now in zip(before, model.weights, strict=True))
