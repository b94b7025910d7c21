"""TF2 checkpoints in our models: Model Garden's, in archives as it publishes them, and the Object Detection API's."""

import tarfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml
from official.vision.modeling.backbones.resnet import ResNet
from official.vision.modeling.decoders.fpn import FPN

from stages.core.base.errors import CheckpointError
from stages.core.tables.detectors import DETECTORS
from stages.core.training.initializing import load as load_module
from stages.core.training.initializing.load import load_weights
from tests import checkpoint_builder as build

pytestmark = pytest.mark.slow

ROW = DETECTORS["maskrcnn_resnet50"]
PIXELS = np.random.default_rng(1).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)


@cache
def published_resnet() -> Any:
    """ResNet-50 as Model Garden's ImageNet recipe has it, with lively statistics."""
    network = ResNet(50, input_specs=tf_keras.layers.InputSpec(shape=[None, 64, 64, 3]), norm_epsilon=1e-5)
    randomize(network)
    return network


@cache
def published_pyramid() -> Any:
    """The FPN of Model Garden's RetinaNet: levels 3 to 7."""
    pyramid = FPN(published_resnet().output_specs, min_level=3, max_level=7)
    randomize(pyramid)
    return pyramid


@cache
def pyramid_model() -> Any:
    """Backbone and decoder of maskrcnn_resnet50 (levels 2 to 6) without its heads, written over by every test."""
    backbone = build.backbone_model("maskrcnn_resnet50").backbone
    decoder = FPN(backbone.output_specs, min_level=2, max_level=6, use_keras_layer=True)
    return SimpleNamespace(backbone=backbone, checkpoint_items={"backbone": backbone, "decoder": decoder})


def randomize(network: Any, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for variable in network.weights:
        if "moving_variance" in variable.name:
            # Statistics of dead channels are nearly zero: there the epsilon is everything.
            variable.assign(rng.choice([1e-4, 0.5, 1.0, 1.5], variable.shape, p=[0.05, 0.35, 0.3, 0.3]))
        elif "gamma" in variable.name:
            variable.assign(rng.uniform(0.2, 0.4, variable.shape))
        elif variable.shape.rank == 1:
            variable.assign(rng.normal(0, 0.1, variable.shape))


def publish(folder: Path, **items: Any) -> Path:
    """An archive as Model Garden publishes them: a checkpoint of its trainer in a folder of its own."""
    model = SimpleCheckpointed(items)
    tf.train.Checkpoint(model=model, global_step=tf.Variable(7), **items).write(str(folder / "work" / "ckpt-28080"))
    archive = folder / "published.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "work", "published")
    return archive


class SimpleCheckpointed(tf.Module):
    """A model that has its parts as attributes."""

    def __init__(self, items: dict[str, Any]) -> None:
        super().__init__()
        for name, item in items.items():
            setattr(self, f"_{name}", item)


def test_an_imagenet_resnet_computes_the_same_here(tmp_path: Path) -> None:
    archive = publish(tmp_path, backbone=published_resnet())
    model = build.backbone_model("maskrcnn_resnet50")
    init = build.open_checkpoint(archive, tmp_path)
    record = load_weights(model, ROW, init, ["backbone"], build.LABELS)
    assert record.kind == "Model Garden classification checkpoint"
    assert (record.parts[0].loaded, record.missing) == (265, {})
    assert record.notes == ("53 variances moved by the difference of epsilons (1e-05 there, 0.001 here)",)
    wanted, found = published_resnet()(PIXELS, training=False), model.backbone(PIXELS, training=False)
    for level in "2345":
        np.testing.assert_allclose(found[level], wanted[level], rtol=0, atol=1e-4 * np.abs(wanted[level]).max())


def test_a_configuration_beside_the_checkpoint_has_the_say(tmp_path: Path) -> None:
    prefix = tmp_path / "ckpt"
    tf.train.Checkpoint(backbone=published_resnet()).write(str(prefix))
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump({"task": {"model": {"norm_activation": {"norm_epsilon": 0.001}}}})
    )
    init = build.open_checkpoint(prefix, tmp_path)
    assert load_weights(build.backbone_model("maskrcnn_resnet50"), ROW, init, "all", build.LABELS).notes == ()


def test_a_pyramid_of_other_levels_loads_by_level(tmp_path: Path) -> None:
    archive = publish(
        tmp_path,
        backbone=published_resnet(),
        decoder=published_pyramid(),
        head=tf_keras.Sequential([tf_keras.layers.Dense(3)]),
    )
    model = pyramid_model()
    record = load_weights(model, ROW, build.open_checkpoint(archive, tmp_path), ["backbone", "decoder"], build.LABELS)
    assert record.kind == "Model Garden TF2 checkpoint"
    decoder = model.checkpoint_items["decoder"]
    theirs = {layer.name: layer for layer in published_pyramid().layers}
    for layer in decoder.layers:
        if layer.weights and not layer.name.endswith("_2"):
            for mine, published in zip(layer.weights, theirs[layer.name].weights, strict=True):
                np.testing.assert_array_equal(mine, published, err_msg=layer.name)
    assert {path.rpartition("/")[0] for path in record.missing} == {
        f"decoder/layer_with_weights-{index}"
        for index, layer in enumerate(layer for layer in decoder.layers if layer.weights)
        if layer.name.endswith("_2")
    }
    assert set(record.missing.values()) == {"not in the checkpoint"}


def test_a_pyramid_of_another_width_stays_out(tmp_path: Path) -> None:
    narrow = FPN(published_resnet().output_specs, min_level=3, max_level=7, num_filters=64)
    archive = publish(tmp_path, backbone=published_resnet(), decoder=narrow)
    init = build.open_checkpoint(archive, tmp_path)
    record = load_weights(pyramid_model(), ROW, init, "all", build.LABELS)
    assert [(part.part, part.loaded) for part in record.parts] == [("backbone", 265), ("decoder", 0)]


def test_layers_without_weights_do_not_count(tmp_path: Path) -> None:
    # Model Garden's MobileNetV2 has an activation that does nothing behind every block, an SSDLite's has none.
    source = build.backbone_model("retinanet_mobilenetv2").backbone
    randomize(source, seed=1)
    model, row = build.backbone_model("ssdlite_mobilenetv2"), DETECTORS["ssdlite_mobilenetv2"]
    init = build.open_checkpoint(publish(tmp_path, backbone=source), tmp_path)
    assert load_weights(model, row, init, "all", build.LABELS).parts[0].loaded == 260
    found, wanted = model.backbone.layers, source.layers
    for mine, theirs in zip(*([layer for layer in layers if layer.weights] for layers in (found, wanted)), strict=True):
        assert all(np.array_equal(value, other) for value, other in zip(mine.weights, theirs.weights, strict=True))


def test_another_backbone_is_refused_with_the_rows_that_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: DETECTORS[name] for name in ("maskrcnn_resnet50", "retinanet_mobilenetv2", "ssdlite_mobilenetv2")}
    monkeypatch.setattr(load_module, "DETECTORS", few)
    archive = publish(tmp_path, backbone=build.backbone_model("retinanet_mobilenetv2").backbone)
    model = build.backbone_model("maskrcnn_resnet50")
    before = [value.numpy() for value in model.weights]
    with pytest.raises(
        CheckpointError, match=r"is not maskrcnn_resnet50's resnet50.*It fits retinanet_mobilenetv2, ssdlite_m"
    ):
        load_weights(model, ROW, build.open_checkpoint(archive, tmp_path), "all", build.LABELS)
    assert all(np.array_equal(value, now) for value, now in zip(before, model.weights, strict=True))


def api_checkpoint(folder: Path, **parts: Any) -> Path:
    """A TF2 checkpoint of the API in the folders of its zoo's archives, beside a SavedModel."""
    tf.train.Checkpoint(model=SimpleCheckpointed(parts)).write(str(folder / "zoo" / "checkpoint" / "ckpt-0"))
    variables = folder / "zoo" / "saved_model" / "variables"
    variables.mkdir(parents=True)
    (variables / "variables.index").write_bytes(b"")
    return folder / "zoo"


@pytest.mark.parametrize(
    ("stem", "what"), [((7, 64), "a ResNet v1, whose strides"), ((3, 32), "an Inception-ResNet v2, which no row has")]
)
def test_two_stage_detectors_of_the_api_are_refused(stem: tuple[int, int], what: str, tmp_path: Path) -> None:
    size, filters = stem
    extractor = tf_keras.Sequential([tf_keras.layers.Conv2D(filters, size, use_bias=False)])
    extractor.build([None, None, None, 3])
    folder = api_checkpoint(tmp_path, feature_extractor_for_proposal_features=extractor)
    init = build.open_checkpoint(folder, tmp_path)
    assert init.kind.name == "Object Detection API TF2 checkpoint"
    with pytest.raises(
        CheckpointError, match=f"two-stage detector is {what}.*nothing was loaded.*zoo:resnet50_imagenet"
    ):
        load_weights(pyramid_model(), ROW, init, "all", build.LABELS)


@cache
def published_mobilenet() -> Any:
    """MobileNetV2 of single convolutions and batch norms, as `tf.keras.applications` and the API's TF2 code have it."""
    network = tf_keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None)
    randomize(network)
    outputs = [network.get_layer(name).output for name in ("block_13_expand_relu", "out_relu")]
    return tf_keras.Model(network.inputs, outputs)


@pytest.mark.parametrize("kind", ["Object Detection API TF2 checkpoint", "Keras weights"])
def test_a_mobilenet_of_single_layers_computes_the_same_here(kind: str, tmp_path: Path) -> None:
    if kind == "Keras weights":
        source = tmp_path / "mobilenet.h5"
        published_mobilenet().save_weights(source)
    else:
        extractor = SimpleCheckpointed({})
        extractor.classification_backbone = published_mobilenet()
        source = api_checkpoint(tmp_path, feature_extractor=extractor)
    model = build.backbone_model("ssdlite_mobilenetv2")
    init = build.open_checkpoint(source, tmp_path)
    record = load_weights(model, DETECTORS["ssdlite_mobilenetv2"], init, "all", build.LABELS)
    assert (record.kind, record.parts[0].loaded, record.missing) == (kind, 260, {})
    wanted, found = published_mobilenet()(PIXELS, training=False), model.backbone(PIXELS, training=False)
    for level, features in zip("45", wanted, strict=True):
        np.testing.assert_allclose(found[level], features, rtol=0, atol=1e-4 * np.abs(features).max())
