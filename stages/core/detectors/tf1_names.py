"""Names of variables in the TF Object Detection API's checkpoints (TF1), for detectors of Model Garden's blocks.

Nothing has another shape there: kernels are not transposed. Sources: the API's `ssd_mobiledet_feature_extractor`,
slim's `mobilenet_v2`, and the listings of published checkpoints.
"""

from collections.abc import Iterator
from typing import Any

from official.vision.modeling.backbones.mobilenet import Conv2DBNBlock
from official.vision.modeling.layers.nn_blocks import InvertedBottleneckBlock, TuckerConvBlock

from stages.core.detectors.ssdlite_layers import SSDLiteHead
from stages.core.detectors.variables import list_variables

ROOT = "FeatureExtractor"
SLIM_NAMES = {
    "kernel": "weights",
    "depthwise_kernel": "depthwise_weights",
    "bias": "biases",
    **{name: f"BatchNorm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")},
}
"""Keras's name of a variable, to slim's below the scope of its convolution."""
PARTS = {
    "Conv": {"0": ""},
    "TuckerConv": {"0": "/Conv", "1": "/Conv_1", "2": "/Conv_2"},
    "IBNNoExpansion": {"1": "/SeparableConv2d", "2": "/Conv"},
    "IBN": {"0": "/Conv", "1": "/SeparableConv2d", "2": "/Conv_1"},
    "FusedConv": {"0": "/Conv", "2": "/Conv_1"},
    "expanded_conv": {"0": "/expand", "1": "/depthwise", "2": "/project"},
}
"""Scope of a block to those of its convolutions, by the number that Model Garden gives them."""
SQUEEZE_EXCITE = {"_se_reduce": "/SqueezeExcite/Conv", "_se_expand": "/SqueezeExcite/Conv_1"}
EXTRA_PARTS = {"reduce": "1_Conv2d_{position}_1x1_{depth}", "depthwise": "2_Conv2d_{position}_3x3_s2_{depth}_depthwise"}
EXTRA_PARTS["project"] = EXTRA_PARTS["depthwise"].removesuffix("_depthwise")
FIRST_EXTRA_POSITION = 2
"""The API counts the maps after the backbone's two from here."""


def ssdlite_tf1_names(model: Any, model_id: str) -> dict[str, str]:
    """Path of every variable of an SSDLite, as `list_detector_variables` has it, to its name in a TF1 checkpoint.

    Args:
      model: From `build_ssdlite`.
      model_id: Of the backbone: `Detector.backbone`.
    """
    return (
        backbone_tf1_names(model.backbone, model_id) | _extra_names(model.decoder, model_id) | _head_names(model.head)
    )


def backbone_tf1_names(backbone: Any, model_id: str) -> dict[str, str]:
    """The same for a mobile backbone alone, whatever detector it is part of; paths begin with `backbone/`."""
    scopes = dict(
        zip((id(layer) for layer in backbone.layers if layer.weights), _scopes(backbone, model_id), strict=True)
    )
    names = {}
    for path, owner, rest in _by_layer(backbone, "backbone"):
        scope, kind = scopes[id(owner)]
        names[path] = f"{ROOT}/{tf1_scope(model_id)}/{scope}{_inside(rest, kind)}"
    return names


def tf1_scope(model_id: str) -> str:
    """Scope of a backbone's variables, below `ROOT`; `model_id` is `Detector.backbone`."""
    return "MobilenetV2" if model_id == "MobileNetV2" else model_id


def _scopes(backbone: Any, model_id: str) -> Iterator[tuple[str, str]]:
    """(scope, kind) of each block, numbered within its kind from none, `_1`, ..."""
    counts: dict[str, int] = {}
    for block in (layer for layer in backbone.layers if layer.weights):
        kind = _kind(block, model_id)
        number = counts[kind] = counts.get(kind, -1) + 1
        yield (f"{kind}_{number}" if number else kind), kind


def _kind(block: Any, model_id: str) -> str:
    if isinstance(block, Conv2DBNBlock):
        return "Conv"
    if isinstance(block, TuckerConvBlock):
        return "TuckerConv"
    if not isinstance(block, InvertedBottleneckBlock):
        raise TypeError(f"{type(block).__name__}: no block of a mobile backbone")
    if model_id == "MobileNetV2":
        return "expanded_conv"
    if not block._use_depthwise:
        return "FusedConv"
    return "IBN" if block._expand_ratio > 1 else "IBNNoExpansion"


def _inside(rest: str, kind: str) -> str:
    """`_conv1/depthwise_kernel` or `_squeeze_excitation/_se_reduce/kernel` to the name below the block's scope."""
    *_, part, name = rest.split("/")
    scope = SQUEEZE_EXCITE[part] if part in SQUEEZE_EXCITE else PARTS[kind][part[-1]]
    return f"{scope}/{SLIM_NAMES[name]}"


def _extra_names(extra_maps: Any, model_id: str) -> dict[str, str]:
    prefix = f"{ROOT}/{tf1_scope(model_id)}/{'layer_19' if model_id == 'MobileNetV2' else 'C5'}"
    depths = {layer.name: layer.filters for layer in extra_maps.layers if layer.name.endswith(("_reduce", "_project"))}
    levels = sorted({int(name.split("_")[1]) for name in depths})
    names = {}
    for path, owner, rest in _by_layer(extra_maps, "decoder"):
        _, level, part = owner.name.removesuffix("_norm").split("_")
        depth = depths[f"extra_{level}_{'reduce' if part == 'reduce' else 'project'}"]
        position = levels.index(int(level)) + FIRST_EXTRA_POSITION
        scope = EXTRA_PARTS[part].format(position=position, depth=depth)
        names[path] = f"{prefix}_{scope}/{SLIM_NAMES[rest]}"
    return names


def _head_names(head: SSDLiteHead) -> dict[str, str]:
    names = {}
    parts = {
        "_class_depthwise": "ClassPredictor_depthwise",
        "_class_norms": "ClassPredictor_depthwise",
        "_classifier": "ClassPredictor",
        "_box_depthwise": "BoxEncodingPredictor_depthwise",
        "_box_norms": "BoxEncodingPredictor_depthwise",
        "_box_regressor": "BoxEncodingPredictor",
    }
    for path in list_variables(head, "head"):
        _, part, position, name = path.split("/")
        names[path] = f"BoxPredictor_{position}/{parts[part]}/{SLIM_NAMES[name]}"
    return names


def _by_layer(part: Any, name: str) -> Iterator[tuple[str, Any, str]]:
    """(path, layer of a functional model, path below that layer) of every variable."""
    owners = {id(variable): layer for layer in part.layers for variable in layer.variables}
    for path, variable in list_variables(part, name).items():
        yield path, owners[id(variable)], path.split("/", 2)[2]
