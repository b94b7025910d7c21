"""MobileDet as the TF Object Detection API computes it, written from its description and independent of Model Garden.

Source: Xiong et al., "MobileDets" (CVPR 2021), and the order, strides and residuals of the API's feature extractor.
Widths and kernel sizes are those of the weights.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

EPSILON = 0.01
BLOCKS = {
    "MobileDetCPU": "C2 P1| I2| I2 I1r I1r I1r| I2 I1r I1r I1r I1 I1r I1r I1r| I2 I1r I1r I1r I1|",
    "MobileDetDSP": "C2 P1| F2 F1r I1r T1r| F2 I1r F1r F1r| F2 I1r I1r I1r F1 I1r I1r I1r| I2 I1r F1r T1r I1|",
    "MobileDetEdgeTPU": "C2 T1| F2 F1r F1r F1r| F2 F1r F1r F1r| I2 I1r F1r F1r I1 I1r I1r I1r| I2 I1r I1r I1r I1|",
    "MobileDetGPU": "C2 T1| F2 T1r T1r T1r| F2 F1r F1r F1r| F2 F1r F1r F1r F1 F1r F1r F1r| F2 F1r F1r F1r I1|",
}
"""Kind (conv, tucker, plain, inverted, fused), stride, r: with residual; |: a feature map, levels 1 to 5."""
SCOPES = {"C": "Conv", "T": "TuckerConv", "P": "IBNNoExpansion", "I": "IBN", "F": "FusedConv"}
CONVS = {"C": [""], "T": ["/Conv", "/Conv_1", "/Conv_2"], "P": ["/SeparableConv2d", "/Conv"]} | {
    "I": ["/Conv", "/SeparableConv2d", "/Conv_1"],
    "F": ["/Conv", "/Conv_1"],
}
STRIDED = {"C": 0, "T": 1, "P": 0, "I": 1, "F": 0}
"""Which of a block's convolutions has the stride."""


def compute_features(name: str, values: Mapping[str, np.ndarray], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Feature maps by level, of pixels [batch, height, width, 3] in -1..1, with weights under their TF1 names."""
    signal, levels = tf.constant(pixels), {}
    numbers: Counter[str] = Counter()
    for token in BLOCKS[name].split():
        kind, stride, has_residual = token[0], int(token[1]), "r" in token
        number = numbers[kind]
        numbers[kind] += 1
        scope = f"FeatureExtractor/{name}/{SCOPES[kind]}{f'_{number}' if number else ''}"
        result = _block(kind, scope, stride, values, signal, hard_swish=name == "MobileDetCPU")
        signal = result + signal if has_residual else result
        if "|" in token:
            levels[str(len(levels) + 1)] = signal.numpy()
    return levels


def _block(
    kind: str, scope: str, stride: int, values: Mapping[str, np.ndarray], signal: tf.Tensor, *, hard_swish: bool
) -> tf.Tensor:
    for index, below in enumerate(CONVS[kind]):
        path = scope + below
        strides = [1, *([stride if index == STRIDED[kind] else 1] * 2), 1]
        if f"{path}/depthwise_weights" in values:
            signal = tf.nn.depthwise_conv2d(signal, values[f"{path}/depthwise_weights"], strides, "SAME")
        else:
            signal = tf.nn.conv2d(signal, values[f"{path}/weights"], strides, "SAME")
        signal = _normalize(f"{path}/BatchNorm", values, signal)
        is_last = index == len(CONVS[kind]) - 1
        if not is_last or kind == "C":
            signal = signal * tf.nn.relu6(signal + 3) / 6 if hard_swish else tf.nn.relu6(signal)
        if f"{scope}/SqueezeExcite/Conv/weights" in values and index == len(CONVS[kind]) - 2:
            signal = signal * _gate(f"{scope}/SqueezeExcite", values, signal)
    return signal


def _normalize(scope: str, values: Mapping[str, np.ndarray], signal: tf.Tensor) -> tf.Tensor:
    gamma, beta, mean, variance = (
        values[f"{scope}/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (signal - mean) * (gamma / np.sqrt(variance + EPSILON)) + beta


def _gate(scope: str, values: Mapping[str, np.ndarray], signal: tf.Tensor) -> tf.Tensor:
    pooled = tf.reduce_mean(signal, axis=[1, 2], keepdims=True)
    for below, last in (("Conv", False), ("Conv_1", True)):
        pooled = tf.nn.conv2d(pooled, values[f"{scope}/{below}/weights"], 1, "SAME") + values[f"{scope}/{below}/biases"]
        pooled = tf.sigmoid(pooled) if last else pooled * tf.nn.relu6(pooled + 3) / 6
    return pooled
