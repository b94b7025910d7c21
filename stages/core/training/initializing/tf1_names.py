"""Names of the TF Object Detection API's variables for those of our backbones, made from the blocks of a backbone.

A scope is numbered among those of its kind: `IBN`, `IBN_1`, ... Source: the API's
`ssd_mobiledet_feature_extractor` and slim's `mobilenet_v2`, whose checkpoints have these names.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.core.tables.detectors import DETECTORS

EXTRACTOR = "FeatureExtractor/"
"""Scope of a detector's backbone; slim's classifiers have none."""
LEAVES = {"kernel": "weights", "depthwise_kernel": "depthwise_weights", "bias": "biases"}
SQUEEZE_EXCITE = {"_se_reduce": "SqueezeExcite/Conv", "_se_expand": "SqueezeExcite/Conv_1"}


@dataclass(frozen=True, kw_only=True)
class BlockScopes:
    """How a kind of block is called.

    Attributes:
      scope: Of the block, to be numbered.
      convs: Attribute of the block to the scope below; an empty one is the block's own.
    """

    scope: str
    convs: Mapping[str, str]


MOBILEDET_BLOCKS = {
    "conv": BlockScopes(scope="Conv", convs={"0": ""}),
    "tucker": BlockScopes(scope="TuckerConv", convs={"0": "Conv", "1": "Conv_1", "2": "Conv_2"}),
    "plain": BlockScopes(scope="IBNNoExpansion", convs={"1": "SeparableConv2d", "2": "Conv"}),
    "inverted": BlockScopes(scope="IBN", convs={"0": "Conv", "1": "SeparableConv2d", "2": "Conv_1"}),
    "fused": BlockScopes(scope="FusedConv", convs={"0": "Conv", "2": "Conv_1"}),
}
_MOBILENETV2_CONVS = {"0": "expand", "1": "depthwise", "2": "project"}
MOBILENETV2_BLOCKS = {
    "conv": BlockScopes(scope="Conv", convs={"0": ""}),
    "plain": BlockScopes(scope="expanded_conv", convs=_MOBILENETV2_CONVS),
    "inverted": BlockScopes(scope="expanded_conv", convs=_MOBILENETV2_CONVS),
}


@dataclass(frozen=True, kw_only=True)
class BackboneNames:
    """A backbone's scope, the names of its blocks, and the epsilon of its batch norms in the API's code."""

    scope: str
    blocks: Mapping[str, BlockScopes]
    epsilon: float


TF1_BACKBONES = {
    **{
        model_id: BackboneNames(scope=model_id, blocks=MOBILEDET_BLOCKS, epsilon=0.01)
        for model_id in ("MobileDetCPU", "MobileDetEdgeTPU", "MobileDetDSP", "MobileDetGPU")
    },
    "MobileNetV2": BackboneNames(scope="MobilenetV2", blocks=MOBILENETV2_BLOCKS, epsilon=0.001),
}
"""By `Detector.backbone`."""


def block_kind(block: Any) -> str:
    """What a block of Model Garden is: a key of `MOBILEDET_BLOCKS`."""
    if hasattr(block, "_input_compression_ratio"):
        return "tucker"
    if not hasattr(block, "_expand_ratio"):
        return "conv"
    if not block._use_depthwise:
        return "fused"
    return "plain" if block._expand_ratio <= 1 else "inverted"


def name_backbone(backbone: Any, names: BackboneNames, *, prefix: str = EXTRACTOR) -> dict[str, str]:
    """TF1 name of every variable of a backbone, by its path below `backbone/`.

    Args:
      backbone: Model Garden's MobileDet or MobileNetV2.
      names: Its row in `TF1_BACKBONES`.
      prefix: What stands before the backbone's scope.
    """
    numbers: Counter[str] = Counter()
    found: dict[str, str] = {}
    blocks = (layer for layer in backbone.layers if layer.weights)
    for index, block in enumerate(blocks):
        scopes = names.blocks[block_kind(block)]
        number = numbers[scopes.scope]
        numbers[scopes.scope] += 1
        scope = f"{prefix}{names.scope}/{scopes.scope}{f'_{number}' if number else ''}"
        for place, name in _name_block(block, scopes):
            found[f"backbone/layer_with_weights-{index}/{place}"] = f"{scope}/{name}"
    return found


def _name_block(block: Any, scopes: BlockScopes) -> Iterator[tuple[str, str]]:
    """Path below a block and name below its scope, of each variable."""
    for number, below in scopes.convs.items():
        conv, norm = getattr(block, f"_conv{number}", None), getattr(block, f"_norm{number}", None)
        below = f"{below}/" if below else ""
        for variable in conv.weights if conv is not None else ():
            leaf = _leaf(variable)
            yield f"_conv{number}/{leaf}", below + LEAVES[leaf]
        for variable in norm.weights if norm is not None else ():
            yield f"_norm{number}/{_leaf(variable)}", f"{below}BatchNorm/{_leaf(variable)}"
    squeeze = getattr(block, "_squeeze_excitation", None)
    for attribute, below in SQUEEZE_EXCITE.items() if squeeze is not None else ():
        for variable in getattr(squeeze, attribute).weights:
            yield f"_squeeze_excitation/{attribute}/{_leaf(variable)}", f"{below}/{LEAVES[_leaf(variable)]}"


def _leaf(variable: Any) -> str:
    return str(variable.name).rpartition("/")[2].partition(":")[0]


def rows_with_backbone(backbone: str) -> list[str]:
    """Names of the detectors, but for the narrow ones for tests, that have a backbone."""
    return [name for name, row in DETECTORS.items() if row.backbone == backbone and not row.tiny]
