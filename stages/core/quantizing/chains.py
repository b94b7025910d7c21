"""Where a model is rounded: THE TABLE of Model Garden's custom layers, and the same found in functional models.

A runtime computes a convolution, its batch norm and its relu as one; such a chain is rounded once, at its end.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras
from official.vision.modeling.backbones.mobilenet import Conv2DBNBlock
from official.vision.modeling.heads.dense_prediction_heads import RetinaNetHead, RPNHead
from official.vision.modeling.heads.instance_heads import DetectionHead, MaskHead
from official.vision.modeling.layers.nn_blocks import BottleneckBlock, InvertedBottleneckBlock, TuckerConvBlock

from stages.core.detectors.ssdlite_backbone import ExpandedBlock
from stages.core.detectors.ssdlite_layers import SSDLiteHead
from stages.core.quantizing.attach import is_fused

layers = tf_keras.layers


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers that a runtime computes as one.

    Attributes:
      layer: What computes: a convolution, a fully-connected layer, an addition. None for batch norms of a shared
        convolution, one for each pyramid level.
      norm: Batch norm after it.
      activation: Keras layer after that, in this chain alone.
      function: The same as a function, which `owner` applies so far.
      owner: Layer that applies it, and the attribute where it holds it; None without a function.
      rounds_input: Whether nothing before has rounded what it reads.
      rounds_output: Whether its result is a value that the runtime stores.
    """

    layer: Any = None
    norm: Any = None
    activation: Any = None
    function: Callable[[Any], Any] | None = None
    owner: tuple[Any, str] | None = None
    rounds_input: bool = False
    rounds_output: bool = True


def conv_block(block: Any) -> list[Chain]:
    """Convolution, batch norm, activation."""
    return [Chain(block._conv0, block._norm0 if block._use_normalization else None, block._activation_layer)]


def inverted_bottleneck(block: Any) -> list[Chain]:
    """Expansion, depthwise, squeeze-excite, projection, addition; parts that a block lacks were never built."""
    chains = [Chain(block._conv0, block._norm0, block._activation_layer), Chain(block._conv2, block._norm2)]
    if block._use_depthwise:
        chains.append(Chain(block._conv1, block._norm1, block._depthwise_activation_layer))
    if block._squeeze_excitation:
        chains += squeeze_excitation(block._squeeze_excitation)
    return [*chains, Chain(block._add)]


def squeeze_excitation(block: Any) -> list[Chain]:
    """Mean, two convolutions, gate: every value that a convolution reads or gives is rounded, and the gated one."""
    return [
        Chain(block._se_reduce, **_function_of(block, "_activation_fn"), rounds_input=True),
        Chain(block._se_expand),
        Chain(block),
    ]


def tucker_block(block: Any) -> list[Chain]:
    """Compression, convolution, expansion, addition (MobileDets, section 4.2); TFMOT knows no such layer."""
    return [
        Chain(block._conv0, block._norm0, block._activation_layer0),
        Chain(block._conv1, block._norm1, block._activation_layer1),
        Chain(block._conv2, block._norm2),
        Chain(block._add),
    ]


def bottleneck_block(block: Any) -> list[Chain]:
    """ResNet's three convolutions and the shortcut; the last relu belongs to the addition."""
    chains = [
        Chain(block._conv1, block._norm1, block._activation1),
        Chain(block._conv2, block._norm2, block._activation2),
        Chain(block._conv3, block._norm3),
        Chain(block._add, activation=block._activation3),
    ]
    if block._use_projection:
        chains.append(Chain(block._shortcut1 if block._resnetd_shortcut else block._shortcut, block._norm0))
    if block._squeeze_excitation:
        chains += squeeze_excitation(block._squeeze_excitation)
    return chains


def retinanet_head(head: Any) -> list[Chain]:
    """Two towers of convolutions, shared by the levels, with batch norms of each level's own."""
    chains = _shared_tower(head._cls_convs, head._cls_norms, head)
    chains += _shared_tower(head._box_convs, head._box_norms, head)
    return chains + [Chain(layer) for layer in tf.nest.flatten([head._classifier, head._box_regressor])]


def ssdlite_head(head: Any) -> list[Chain]:
    """For each map, a depthwise convolution and a predictor of the classes, and the same of the boxes."""
    branches = [find(level) for level in range(len(head.levels)) for find in (head.class_branch, head.box_branch)]
    return [
        chain
        for depthwise, norm, activation, predictor in branches
        for chain in (Chain(depthwise, norm, activation), Chain(predictor))
    ]


def rpn_head(head: Any) -> list[Chain]:
    """One tower as in RetinaNet, two predictors."""
    chains = _shared_tower(head._convs, head._norms, head)
    return [*chains, Chain(head._classifier), Chain(head._box_regressor)]


def detection_head(head: Any) -> list[Chain]:
    """Convolutions and fully-connected layers on cut-out regions, two predictors."""
    function = _function_of(head)
    bodies = [*zip(head._convs, head._conv_norms, strict=True), *zip(head._fcs, head._fc_norms, strict=True)]
    chains = [Chain(layer, norm, **function, rounds_input=index == 0) for index, (layer, norm) in enumerate(bodies)]
    return [*chains, Chain(head._classifier), Chain(head._box_regressor)]


def mask_head(head: Any) -> list[Chain]:
    """Convolutions on cut-out regions, a transposed one, the predictor."""
    function = _function_of(head)
    bodies = [*zip(head._convs, head._conv_norms, strict=True), (head._deconv, head._deconv_bn)]
    chains = [Chain(layer, norm, **function, rounds_input=index == 0) for index, (layer, norm) in enumerate(bodies)]
    return [*chains, Chain(head._mask_regressor)]


CUSTOM_LAYERS: dict[type, Callable[[Any], list[Chain]]] = {
    Conv2DBNBlock: conv_block,
    InvertedBottleneckBlock: inverted_bottleneck,
    ExpandedBlock: inverted_bottleneck,
    TuckerConvBlock: tucker_block,
    BottleneckBlock: bottleneck_block,
    RetinaNetHead: retinanet_head,
    SSDLiteHead: ssdlite_head,
    RPNHead: rpn_head,
    DetectionHead: detection_head,
    MaskHead: mask_head,
}
"""Type to what finds its chains."""

PASSING = (layers.InputLayer, layers.UpSampling2D, layers.MaxPooling2D, layers.ZeroPadding2D)
"""Layers whose results are values that they read (or zero): they need no rounding of their own."""


def take_over_functions(chains: Iterable[Chain]) -> None:
    """Has the owners of activation functions apply none from now on: the chains do it instead."""
    for chain in chains:
        if chain.owner is not None:
            layer, attribute = chain.owner
            setattr(layer, attribute, tf.identity)


def _function_of(layer: Any, attribute: str = "_activation") -> dict[str, Any]:
    """The activation function that a custom layer applies, as fields of a chain."""
    return {"function": getattr(layer, attribute), "owner": (layer, attribute)}


def _shared_tower(convs: Any, norms: Any, head: Any) -> list[Chain]:
    shared = [Chain(layer, rounds_output=False) for layer in tf.nest.flatten(convs)]
    return shared + [Chain(norm=norm, **_function_of(head)) for norm in tf.nest.flatten(norms)]


def graph_chains(model: Any) -> tuple[list[Chain], list[Any]]:
    """Chains of a functional model, and its layers that are neither Keras's own nor passing.

    Layers join where the only reader of one is the next; a value that two read, or that leaves the model, is stored.
    """
    leaving = {id(tensor._keras_history.layer) for tensor in tf.nest.flatten(model.outputs)}
    chains: list[Chain] = []
    custom: list[Any] = []
    joined: set[int] = set()
    for layer in model.layers:
        if id(layer) in joined or _passes(layer):
            continue
        if type(layer) in CUSTOM_LAYERS or not isinstance(layer, _PLAIN):
            custom.append(layer)
            continue
        parts: dict[str, Any] = {}
        role = _role(layer)
        parts[role] = last = layer
        while (following := _only_reader(last, leaving)) is not None and _joins(last, following):
            parts[_role(following)] = last = following
            joined.add(id(following))
        chains.append(Chain(**parts))
    return chains, custom


_PLAIN = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.Dense,
    layers.Add,
    layers.BatchNormalization,
    layers.Activation,
)


def _passes(layer: Any) -> bool:
    return isinstance(layer, PASSING) or (
        isinstance(layer, layers.Activation) and getattr(layer.activation, "__name__", "") == "linear"
    )


def _role(layer: Any) -> str:
    """Attribute of a chain that a layer takes."""
    if isinstance(layer, layers.BatchNormalization):
        return "norm"
    return "activation" if isinstance(layer, layers.Activation) else "layer"


def _only_reader(layer: Any, leaving: set[int]) -> Any:
    readers = [node.layer for node in layer.outbound_nodes]
    return readers[0] if len(readers) == 1 and id(layer) not in leaving else None


def _joins(layer: Any, following: Any) -> bool:
    """Whether a runtime computes `following` within `layer`. Only convolutions and the like take up a batch norm."""
    if isinstance(following, layers.BatchNormalization):
        return _role(layer) == "layer" and not isinstance(layer, layers.Add)
    if isinstance(following, layers.Activation) and not _passes(following):
        return _role(layer) != "activation" and is_fused(following.activation)
    return False
