"""A small subclassed model with every kind of kernel, and what of Model Garden's task a training touches."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

layers = tf_keras.layers
PICTURES = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
SPEED = 0.05


class TinyDetector(tf_keras.Model):  # type: ignore[misc]
    """Every kind of kernel, below the names that a detector has."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = tf_keras.Sequential(
            [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Conv2D(16, 1), layers.SeparableConv2D(16, 3)]
        )
        self.head = tf_keras.Sequential([layers.Conv2DTranspose(8, 2, 2), layers.Flatten(), layers.Dense(8)])

    @property
    def checkpoint_items(self) -> dict[str, Any]:
        return {"backbone": self.backbone, "head": self.head}

    def call(self, pictures: Any, image_shape: Any = None, training: bool = False) -> Any:
        return self.head(self.backbone(pictures, training=training), training=training)


def build(seed: int = 0) -> TinyDetector:
    tf_keras.utils.set_random_seed(seed)
    model = TinyDetector()
    model(PICTURES)
    return model


class TinyTask:
    """What of Model Garden's task a training touches."""

    task_config = SimpleNamespace(model=SimpleNamespace(input_size=[8, 8, 4]))

    def __init__(self, model: Any) -> None:
        self._model = model

    def build_model(self) -> Any:
        return self._model

    def train_step(self, inputs: Any, model: Any, optimizer: Any, metrics: Any = None) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs, training=True) - 1.0) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}
