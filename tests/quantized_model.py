"""A quantized detector in tests: ranges from one pass over pictures instead of a training."""

from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from stages.core.quantizing.quantizers import FakeQuant


def observe(model: Any, pictures: tf.Tensor) -> None:
    """Gives every quantizer the range of what it sees: pictures are float32 [N, H, W, 3], normalised."""

    def follow(self: Any, inputs: Any, training: bool | None = None) -> Any:
        del training
        return self.quantizer(inputs, True, self.range)

    with mock.patch.object(FakeQuant, "call", follow):
        run_heads(model, pictures)


def run_heads(model: Any, pictures: tf.Tensor) -> dict[str, np.ndarray]:
    """What the heads give, by head and level, on the pictures and on regions of random features."""
    features = model.decoder(model.backbone(pictures, training=False), training=False)
    heads = {"dense": model.rpn_head if hasattr(model, "rpn_head") else model.head}
    found = {}
    for name, levels in zip(("scores", "boxes"), heads["dense"](features)[:2], strict=True):
        found |= {f"{name}_{level}": value.numpy() for level, value in levels.items()}
    if hasattr(model, "mask_head"):
        channels = features["3"].shape[-1]
        rng = np.random.default_rng(2)
        regions = tf.constant(rng.normal(size=(1, 6, 7, 7, channels)).astype(np.float32))
        scores, boxes = model.detection_head[0](regions, training=False)
        regions = tf.constant(rng.normal(size=(1, 6, 14, 14, channels)).astype(np.float32))
        masks = model.mask_head([regions, tf.zeros([1, 6])], training=False)
        found |= {"region_scores": scores.numpy(), "region_boxes": boxes.numpy(), "masks": masks.numpy()}
    return found
