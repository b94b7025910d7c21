"""What an SSDLite puts on its backbone: extra feature maps, and predictors of depthwise separable convolutions.

Sources: Sandler et al., "MobileNetV2" (CVPR 2018), section 6.2 (SSDLite); the TF Object Detection API's
`multi_resolution_feature_maps` and `convolutional_box_predictor`, whose variables these are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tf_keras

from stages.core.detectors.ssdlite_backbone import COARSE

layers = tf_keras.layers
INITIAL_DEVIATION = 0.03
"""Of random weights, as in the API's configs."""
SMALLEST_DEPTH = 16


def norm_options(config: Any) -> dict[str, Any]:
    """Arguments of the batch norms after the backbone. `config` is `task.model` of the experiment."""
    norm = config.norm_activation
    return {"momentum": norm.norm_momentum, "epsilon": norm.norm_epsilon, "synchronized": norm.use_sync_bn}


def build_extra_maps(config: Any, shapes: Mapping[str, Any], *, regularizer: Any = None) -> Any:
    """The backbone's two maps to all maps, by level: each new one is half the size of the one before it.

    A new map is a 1x1 convolution to half its depth, a 3x3 depthwise convolution of stride 2 and a 1x1 convolution,
    each with batch norm and relu6.

    Args:
      config: `task.model` of the experiment, an `SSDLiteModel`.
      shapes: [batch, height, width, channels] of the backbone's maps by level.
      regularizer: Of the kernels.

    Returns:
      A functional `tf_keras.Model`; what belongs to level l is called `extra_l_reduce`, `_depthwise` and `_project`.
    """
    inputs = {level: layers.Input(shape[1:]) for level, shape in shapes.items()}
    # The backbone's maps leave as they are: Keras needs a layer between an input and an output.
    maps = {level: layers.Activation("linear")(value) for level, value in inputs.items()}
    value = maps[COARSE]
    for level, depth in zip(config.levels[len(shapes) :], config.extra_depths, strict=True):
        name = f"extra_{level}"
        value = _pointwise(max(SMALLEST_DEPTH, depth // 2), f"{name}_reduce", regularizer)(value)
        value = _norm_and_relu6(value, f"{name}_reduce", config)
        value = layers.DepthwiseConv2D(
            3, 2, "same", use_bias=False, depthwise_initializer=_truncated_normal(), name=f"{name}_depthwise"
        )(value)
        value = _norm_and_relu6(value, f"{name}_depthwise", config)
        value = _pointwise(max(SMALLEST_DEPTH, depth), f"{name}_project", regularizer)(value)
        maps[str(level)] = value = _norm_and_relu6(value, f"{name}_project", config)
    return tf_keras.Model(inputs, maps, name="extra_maps")


def _pointwise(depth: int, name: str, regularizer: Any) -> Any:
    return layers.Conv2D(
        depth, 1, use_bias=False, kernel_initializer=_truncated_normal(), kernel_regularizer=regularizer, name=name
    )


def _norm_and_relu6(value: Any, name: str, config: Any) -> Any:
    value = layers.BatchNormalization(name=f"{name}_norm", **norm_options(config))(value)
    return layers.Activation("relu6", name=f"{name}_relu6")(value)


def _truncated_normal() -> Any:
    return tf_keras.initializers.TruncatedNormal(stddev=INITIAL_DEVIATION)


class SSDLiteHead(tf_keras.layers.Layer):  # type: ignore[misc]
    """Class logits and box codes from every map: for each of the two, a depthwise convolution and a 1x1 convolution.

    Maps share no weights. Lists are in the order of `levels`.
    """

    def __init__(
        self,
        *,
        levels: Sequence[int],
        num_classes: int,
        anchors_per_cell: Sequence[int],
        class_bias: float,
        norm: Mapping[str, Any],
        regularizer: Any = None,
    ) -> None:
        """Creates the layers.

        Args:
          levels: Of the maps, finest first.
          num_classes: Class logits per anchor, with the background's.
          anchors_per_cell: Level by level.
          class_bias: Initial bias of the class logits.
          norm: Arguments of the batch norms.
          regularizer: Of the predictors' kernels.
        """
        super().__init__(name="head")
        self.levels = [str(level) for level in levels]
        self._class_depthwise, self._class_norms = self._depthwise(), self._norms(norm)
        self._box_depthwise, self._box_norms = self._depthwise(), self._norms(norm)
        self._activation_layers = [layers.Activation("relu6") for _ in range(2 * len(levels))]
        bias = tf_keras.initializers.Constant(class_bias)
        self._classifier = [self._predictor(number * num_classes, regularizer, bias) for number in anchors_per_cell]
        self._box_regressor = [self._predictor(number * 4, regularizer, "zeros") for number in anchors_per_cell]

    def call(self, features: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Logits [B, h, w, anchors * classes] and codes [B, h, w, anchors * 4] by level, and no attributes.

        Args:
          features: Maps by level, float32 [B, h, w, channels].
        """
        scores, boxes = {}, {}
        for index, level in enumerate(self.levels):
            scores[level] = self._predict(features[level], self.class_branch(index))
            boxes[level] = self._predict(features[level], self.box_branch(index))
        return scores, boxes, {}

    def class_branch(self, index: int) -> tuple[Any, Any, Any, Any]:
        """Depthwise convolution, batch norm, activation and predictor of one map's classes."""
        relu6 = self._activation_layers[index]
        return self._class_depthwise[index], self._class_norms[index], relu6, self._classifier[index]

    def box_branch(self, index: int) -> tuple[Any, Any, Any, Any]:
        """The same of one map's boxes."""
        relu6 = self._activation_layers[len(self.levels) + index]
        return self._box_depthwise[index], self._box_norms[index], relu6, self._box_regressor[index]

    @staticmethod
    def _predict(value: Any, branch: Sequence[Any]) -> Any:
        for layer in branch:
            value = layer(value)
        return value

    def _depthwise(self) -> list[Any]:
        return [
            layers.DepthwiseConv2D(3, 1, "same", use_bias=False, depthwise_initializer=_normal()) for _ in self.levels
        ]

    def _norms(self, norm: Mapping[str, Any]) -> list[Any]:
        return [layers.BatchNormalization(**norm) for _ in self.levels]

    @staticmethod
    def _predictor(channels: int, regularizer: Any, bias: Any) -> Any:
        return layers.Conv2D(
            channels, 1, kernel_initializer=_normal(), bias_initializer=bias, kernel_regularizer=regularizer
        )


def _normal() -> Any:
    return tf_keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION)
