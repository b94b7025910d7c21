"""The Keras Mask R-CNN of the tests, fitted for some hundred steps: its scores have the gaps of a real detector's.

With random weights, hundreds of overlapping regions have nearly equal scores, and any rounding decides which of them
stay: int8 cannot be told from a model that is ill-conditioned. Less than a minute of training on drawn scenes will do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tests.keras_maskrcnn import MEAN, Sizes, build_keras_maskrcnn, image_meta, pyramid_anchors, spread_weights

FITTED = Sizes(side=64, scales=(8, 12, 18, 26, 36))
COLORS = np.asarray([[200, 60, 60], [60, 190, 70], [70, 80, 210]], np.float64)
SPREAD = np.asarray([0.1, 0.1, 0.2, 0.2], np.float32)
STEPS, BATCH, SCENES, RATE = 600, 4, 256, 2e-3
REGIONS = 24
"""Regions of an image in training: objects moved a little or a lot, and some anywhere."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture of coloured rectangles.

    Attributes:
      pixels: uint8 [side, side, 3].
      boxes: float32 [N, 4] as the model has them; they do not overlap.
      labels: From 1.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def draw_scenes(number: int, seed: int, side: int = FITTED.side) -> list[Scene]:
    """One to four rectangles each; the colour is the class."""
    rng = np.random.default_rng(seed)
    return [_draw_scene(rng, side) for _ in range(number)]


def _draw_scene(rng: np.random.Generator, side: int) -> Scene:
    pixels = rng.uniform(30, 120) + rng.normal(0, 12, (side, side, 3))
    boxes: list[np.ndarray] = []
    labels: list[int] = []
    for _ in range(rng.integers(1, 5)):
        height, width = rng.uniform(side * 0.15, side * 0.45, 2)
        top, left = rng.uniform(0, side - height), rng.uniform(0, side - width)
        box = np.round([top, left, top + height, left + width])
        if boxes and _ious(box[np.newaxis], np.asarray(boxes)).any():
            continue
        label = int(rng.integers(3))
        top, left, bottom, right = box.astype(int)
        noise = rng.normal(0, 15, 3) + rng.normal(0, 12, (bottom - top, right - left, 3))
        pixels[top:bottom, left:right] = COLORS[label] + noise
        boxes.append(box)
        labels.append(label + 1)
    corners = (np.asarray(boxes) / (side - 1)).astype(np.float32)
    return Scene(pixels.clip(0, 255).round().astype(np.uint8), corners, np.asarray(labels))


def fit_keras_maskrcnn(sizes: Sizes = FITTED) -> Any:
    """The model after `STEPS` steps of Adam on regions, classes and boxes; masks stay random."""
    model = spread_weights(build_keras_maskrcnn(sizes), sizes)
    scenes, anchors, meta = draw_scenes(SCENES, seed=7), pyramid_anchors(sizes), image_meta(sizes)
    images = np.stack([scene.pixels for scene in scenes]).astype(np.float32) - np.asarray(MEAN, np.float32)
    # What batch norm knows of its inputs (momentum 0) becomes what it sees on scenes.
    model([images[:16], meta, anchors], training=True)
    wanted = [_anchor_targets(anchors[0], scene) for scene in scenes]
    step, rate = _make_step(model, sizes)
    rng = np.random.default_rng(1)
    for number in range(STEPS):
        rate.assign(RATE * min(1.0, (number + 1) / 20) * 0.5 * (1 + np.cos(np.pi * number / STEPS)))
        chosen = rng.integers(SCENES, size=BATCH)
        regions = [_draw_regions(rng, scenes[index]) for index in chosen]
        columns = [*zip(*(wanted[index] for index in chosen), strict=True), *zip(*regions, strict=True)]
        step(images[chosen], np.repeat(meta, BATCH, 0), *(np.stack(column) for column in columns))
    return model


def _make_step(model: Any, sizes: Sizes) -> tuple[Any, Any]:
    """A step of the optimizer on (images, meta, anchors' labels and deltas, regions, their labels and deltas)."""
    image, meta, _ = model.inputs
    regions = model.layers[[layer.name.endswith("_rois") for layer in model.layers].index(True)].output
    _, classes, deltas, _, _, rpn_scores, rpn_deltas = model.outputs
    heads = tf_keras.Model([image, meta, regions], [rpn_scores, rpn_deltas, classes, deltas])
    optimizer = tf_keras.optimizers.legacy.Adam(RATE)

    @tf.function
    def step(image: Any, meta: Any, labels: Any, moves: Any, regions: Any, own_labels: Any, own_moves: Any) -> None:
        with tf.GradientTape() as tape:
            scores, encoded, rated, refined = heads([image, meta, regions], training=False)
            objects, rest = (tf.cast(tf.equal(labels, value), tf.float32) for value in (1, 0))
            costs = -tf.math.log(scores + 1e-7)
            hard = rest * tf.stop_gradient(costs[..., 0] + 0.05)
            loss = _mean(costs[..., 1], objects) + _mean(costs[..., 0], hard)
            loss += _mean(_huber(encoded - moves), objects)
            chosen = tf.one_hot(own_labels, sizes.classes)
            loss -= tf.reduce_mean(tf.reduce_sum(chosen * tf.math.log(rated + 1e-7), -1))
            own = tf.gather(refined, own_labels, batch_dims=2)
            loss += _mean(_huber(own - own_moves), tf.cast(own_labels > 0, tf.float32))
        variables = heads.trainable_variables
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 5.0)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    return step, optimizer.learning_rate


def _mean(values: Any, weights: Any) -> Any:
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))


def _huber(errors: Any) -> Any:
    size = tf.abs(errors)
    return tf.reduce_sum(tf.where(size < 1, 0.5 * size * size, size - 0.5), -1)


def _ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    shared = np.maximum(np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - low, 0).prod(-1)
    areas = [(item[:, 2:] - item[:, :2]).prod(-1) for item in (boxes, others)]
    ious: np.ndarray = shared / (areas[0][:, None] + areas[1][None] - shared)
    return ious


def _encode(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    side, wanted = boxes[:, 2:] - boxes[:, :2], objects[:, 2:] - objects[:, :2]
    shift = (objects[:, :2] + wanted / 2 - boxes[:, :2] - side / 2) / side
    return (np.concatenate([shift, np.log(wanted / side)], 1) / SPREAD).astype(np.float32)


def _anchor_targets(anchors: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """1 for objects, 0 for the background, -1 for neither; and deltas to the object that an anchor meets best."""
    ious = _ious(anchors, scene.boxes)
    best = ious.max(1)
    labels = np.where(best >= 0.5, 1, np.where(best < 0.3, 0, -1))
    labels[ious.argmax(0)] = 1
    return labels.astype(np.int32), _encode(anchors, scene.boxes[ious.argmax(1)])


def _draw_regions(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regions [N, 4], their labels (0: background) and deltas to the objects that they meet best."""
    near = scene.boxes[rng.integers(len(scene.boxes), size=REGIONS)]
    side = near[:, 2:] - near[:, :2]
    amount = rng.uniform(0, 1, (REGIONS, 1)) ** 2 * np.where(rng.uniform(size=(REGIONS, 1)) < 0.4, 1.2, 0.25)
    center = near[:, :2] + side / 2 + rng.normal(size=(REGIONS, 2)) * amount * side
    side = side * np.exp(rng.normal(size=(REGIONS, 2)) * amount * 0.7)
    regions = np.concatenate([center - side / 2, center + side / 2], 1).clip(0, 1)
    regions[:, 2:] = np.maximum(regions[:, 2:], regions[:, :2] + 0.02)
    anywhere = rng.uniform(0, 0.8, (REGIONS // 4, 2))
    far = np.minimum(anywhere + rng.uniform(0.1, 0.5, anywhere.shape), 1)
    regions[: REGIONS // 4] = np.concatenate([anywhere, far], 1)
    ious = _ious(regions, scene.boxes)
    best = ious.argmax(1)
    labels = np.where(ious.max(1) >= 0.5, scene.labels[best], 0)
    return regions.astype(np.float32), labels.astype(np.int32), _encode(regions, scene.boxes[best])
