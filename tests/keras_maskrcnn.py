"""A Mask R-CNN of the family that Matterport's Keras code began, written anew and narrow: same layers and interface.

Three inputs (image with its mean subtracted, image meta, anchors), seven outputs. What matters here are the ops:
regions are shared out over the pyramid's levels by `where`, sampled by `crop_and_resize` and sorted back by `top_k`;
detections are filtered by sets of indices and suppressed class by class in a `map_fn`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

KL = tf_keras.layers
MEAN = (123.7, 116.8, 103.9)
STRIDES = (4, 8, 16, 32, 64)
OUTPUTS = ("detections", "classes", "deltas", "masks", "rois", "rpn_scores", "rpn_deltas")


@dataclass(frozen=True)
class Fork:
    """How one fork of the family differs from another.

    Attributes:
      prefix: Of all layers' names.
      min_confidence: Detections below are dropped by an intersection of sets; 0: there is no such step.
      joins: How the indices that suppression keeps meet the earlier ones: "sets", or "none" (used as they are).
      crops_twice: Regions are sampled twice as densely, then averaged.
      images: Images per batch.
    """

    prefix: str = "mrcnn"
    min_confidence: float = 0.3
    joins: str = "sets"
    crops_twice: bool = False
    images: int = 1


@dataclass(frozen=True)
class Sizes:
    """Sizes of the model."""

    side: int = 128
    classes: int = 4
    width: int = 8
    pyramid: int = 24
    rois: int = 40
    before_suppression: int = 300
    detections: int = 12
    pool: int = 7
    mask_pool: int = 14
    scales: tuple[int, ...] = (16, 32, 64, 96, 128)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)


def image_meta(sizes: Sizes, images: int = 1) -> np.ndarray:
    """float32 [images, 12 + classes]: id, shapes, window, scale, active classes."""
    side = sizes.side
    row = [0, side, side, 3, side, side, 3, 0, 0, side, side, 1.0, *[1] * sizes.classes]
    return np.tile(np.asarray(row, np.float32), (images, 1))


def pyramid_anchors(sizes: Sizes, images: int = 1) -> np.ndarray:
    """float32 [images, A, 4], corners over the image's sides as this family normalises them (pixel / (side - 1))."""
    found = []
    for stride, scale in zip(STRIDES, sizes.scales, strict=True):
        centers = np.arange(0, sizes.side, stride)
        for row in centers:
            for column in centers:
                for ratio in sizes.ratios:
                    half = np.asarray([scale / ratio**0.5, scale * ratio**0.5]) / 2
                    found.append([*(np.asarray([row, column]) - half), *(np.asarray([row, column]) + half)])
    boxes = (np.asarray(found) - np.asarray([0, 0, 1, 1])) / (sizes.side - 1)
    return np.tile(boxes.astype(np.float32)[np.newaxis], (images, 1, 1))


def move_boxes(boxes: Any, deltas: Any) -> Any:
    side = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * side + deltas[:, :2] * side
    side = side * tf.exp(deltas[:, 2:])
    low = center - 0.5 * side
    return tf.concat([low, low + side], axis=1)


def clip_boxes(boxes: Any, window: Any) -> Any:
    parts = tf.split(boxes, 4, axis=1)
    low_y, low_x, high_y, high_x = tf.split(window, 4)
    lows, highs = (low_y, low_x, low_y, low_x), (high_y, high_x, high_y, high_x)
    clipped = [tf.maximum(tf.minimum(p, hi), lo) for p, lo, hi in zip(parts, lows, highs, strict=True)]
    return tf.concat(clipped, axis=1)


def per_image(inputs: Sequence[Any], function: Callable[..., Any], images: int) -> Any:
    return tf.stack([function(*(item[index] for item in inputs)) for index in range(images)], axis=0)


class Proposals(KL.Layer):
    def __init__(self, sizes: Sizes, images: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.images = sizes, images

    def call(self, inputs: Any) -> Any:
        scores, deltas, anchors = (
            inputs[0][:, :, 1],
            inputs[1] * np.asarray([0.1, 0.1, 0.2, 0.2], np.float32),
            inputs[2],
        )
        best = tf.nn.top_k(scores, tf.minimum(self.sizes.before_suppression, tf.shape(anchors)[1])).indices
        scores, deltas, anchors = (
            per_image([item, best], tf.gather, self.images) for item in (scores, deltas, anchors)
        )
        boxes = per_image([anchors, deltas], move_boxes, self.images)
        window = np.asarray([0, 0, 1, 1], np.float32)
        boxes = per_image([boxes], lambda item: clip_boxes(item, window), self.images)

        def suppress(own: Any, rated: Any) -> Any:
            kept = tf.gather(own, tf.image.non_max_suppression(own, rated, self.sizes.rois, 0.7))
            return tf.pad(kept, [(0, tf.maximum(self.sizes.rois - tf.shape(kept)[0], 0)), (0, 0)])

        return per_image([boxes, scores], suppress, self.images)


class PyramidAlign(KL.Layer):
    def __init__(self, pool: int, twice: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool, self.twice = pool, twice

    def call(self, inputs: Any) -> Any:
        boxes, meta, maps = inputs[0], inputs[1], inputs[2:]
        low_y, low_x, high_y, high_x = tf.split(boxes, 4, axis=2)
        area = tf.cast(meta[0, 4] * meta[0, 5], tf.float32)
        ratio = tf.sqrt((high_y - low_y) * (high_x - low_x)) / (64.0 / tf.sqrt(area))
        level = 4 + tf.cast(tf.round(tf.math.log(ratio) / tf.math.log(2.0)), tf.int32)
        level = tf.squeeze(tf.minimum(5, tf.maximum(2, level)), 2)
        pool = self.pool * (2 if self.twice else 1)
        pooled, indices = [], []
        for index, features in enumerate(maps):
            where = tf.where(tf.equal(level, index + 2))
            own = tf.stop_gradient(tf.gather_nd(boxes, where))
            images = tf.stop_gradient(tf.cast(where[:, 0], tf.int32))
            indices.append(where)
            pooled.append(tf.image.crop_and_resize(features, own, images, [pool, pool], method="bilinear"))
        crops, where = tf.concat(pooled, axis=0), tf.cast(tf.concat(indices, axis=0), tf.int32)
        number = tf.expand_dims(tf.range(tf.shape(where)[0]), 1)
        where = tf.concat([where, number], axis=1)
        keys = where[:, 0] * 100000 + where[:, 1]
        order = tf.nn.top_k(keys, k=tf.shape(where)[0]).indices[::-1]
        crops = tf.gather(crops, tf.gather(where[:, 2], order))
        if self.twice:
            crops = tf.nn.avg_pool2d(crops, 2, 2, "VALID")
        return tf.reshape(crops, tf.concat([tf.shape(boxes)[:2], tf.shape(crops)[1:]], axis=0))

    def compute_output_shape(self, shapes: Any) -> Any:
        return (*shapes[0][:2], self.pool, self.pool, shapes[2][-1])


class Detections(KL.Layer):
    def __init__(self, sizes: Sizes, fork: Fork, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.fork = sizes, fork

    def call(self, inputs: Any) -> Any:
        rois, classes, deltas, meta = inputs
        scale = tf.concat([meta[0, 4:6], meta[0, 4:6]], axis=0) - 1.0
        windows = (meta[:, 7:11] - [0.0, 0.0, 1.0, 1.0]) / scale
        found = per_image([rois, classes, deltas, windows], self.refine, self.fork.images)
        return tf.reshape(found, [self.fork.images, self.sizes.detections, 6])

    def refine(self, rois: Any, classes: Any, deltas: Any, window: Any) -> Any:
        most = self.sizes.detections
        labels = tf.argmax(classes, axis=1, output_type=tf.int32)
        indices = tf.stack([tf.range(tf.shape(classes)[0]), labels], axis=1)
        scores = tf.gather_nd(classes, indices)
        boxes = move_boxes(rois, tf.gather_nd(deltas, indices) * np.asarray([0.1, 0.1, 0.2, 0.2], np.float32))
        boxes = clip_boxes(boxes, window)
        keep = tf.where(labels > 0)[:, 0]
        if self.fork.min_confidence:
            keep = self.intersect(keep, tf.where(scores >= self.fork.min_confidence)[:, 0])
        own_labels, own_scores, own_boxes = (tf.gather(item, keep) for item in (labels, scores, boxes))

        def suppress(label: Any) -> Any:
            own = tf.where(tf.equal(own_labels, label))[:, 0]
            kept = tf.image.non_max_suppression(tf.gather(own_boxes, own), tf.gather(own_scores, own), most, 0.3)
            kept = tf.gather(keep, tf.gather(own, kept))
            kept = tf.pad(kept, [(0, most - tf.shape(kept)[0])], constant_values=-1)
            kept.set_shape([most])
            return kept

        kept = tf.map_fn(suppress, tf.unique(own_labels)[0], fn_output_signature=tf.int64)
        kept = tf.reshape(kept, [-1])
        kept = tf.gather(kept, tf.where(kept > -1)[:, 0])
        keep = self.intersect(keep, kept) if self.fork.joins == "sets" else kept
        rated = tf.gather(scores, keep)
        best = tf.nn.top_k(rated, k=tf.minimum(tf.shape(rated)[0], most), sorted=True)[1]
        keep = tf.gather(keep, best)
        columns = [tf.gather(boxes, keep), tf.cast(tf.gather(labels, keep), tf.float32)[:, tf.newaxis]]
        rows = tf.concat([*columns, tf.gather(scores, keep)[:, tf.newaxis]], axis=1)
        return tf.pad(rows, [(0, most - tf.shape(rows)[0]), (0, 0)])

    @staticmethod
    def intersect(first: Any, second: Any) -> Any:
        both = tf.sets.intersection(tf.expand_dims(first, 0), tf.expand_dims(second, 0))
        return tf.sparse.to_dense(both)[0]


def _block(x: Any, filters: int, stride: int, name: str) -> Any:
    short = KL.Conv2D(filters * 4, 1, stride, name=f"{name}_short")(x)
    short = KL.BatchNormalization(name=f"{name}_short_bn")(short)
    for index, (side, width, step) in enumerate(((1, filters, stride), (3, filters, 1), (1, filters * 4, 1))):
        x = KL.Conv2D(width, side, step, padding="same", name=f"{name}_{index}")(x)
        x = KL.BatchNormalization(name=f"{name}_bn{index}")(x)
        x = KL.Activation("relu")(x) if index < 2 else x
    return KL.Activation("relu")(KL.Add()([x, short]))


def _pyramid(image: Any, sizes: Sizes, name: str) -> list[Any]:
    x = KL.ZeroPadding2D(3)(image)
    x = KL.Activation("relu")(KL.BatchNormalization(name=f"{name}_bn")(KL.Conv2D(sizes.width, 7, 2, name=name)(x)))
    x = KL.MaxPooling2D(3, 2, padding="same")(x)
    stages = []
    for index in range(4):
        x = _block(x, sizes.width * 2**index, 1 if index == 0 else 2, f"{name}_{index}")
        stages.append(x)
    top = KL.Conv2D(sizes.pyramid, 1, name=f"{name}_top")(stages[-1])
    maps = [top]
    for index in (2, 1, 0):
        side = KL.Conv2D(sizes.pyramid, 1, name=f"{name}_side{index}")(stages[index])
        maps.insert(0, KL.Add()([KL.UpSampling2D(2)(maps[0]), side]))
    maps = [KL.Conv2D(sizes.pyramid, 3, padding="same", name=f"{name}_p{i}")(item) for i, item in enumerate(maps)]
    return [*maps, KL.MaxPooling2D(1, 2)(maps[-1])]


def _proposal_heads(maps: list[Any], sizes: Sizes, name: str) -> tuple[Any, Any]:
    shared = KL.Conv2D(32, 3, padding="same", activation="relu", name=f"{name}_rpn")
    rated = KL.Conv2D(2 * len(sizes.ratios), 1, name=f"{name}_rpn_scores")
    moved = KL.Conv2D(4 * len(sizes.ratios), 1, name=f"{name}_rpn_deltas")
    flat = KL.Lambda(lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 2]))
    flat_boxes = KL.Lambda(lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 4]))
    heads = [shared(item) for item in maps]
    scores = KL.Concatenate(axis=1)([KL.Activation("softmax")(flat(rated(head))) for head in heads])
    return scores, KL.Concatenate(axis=1)([flat_boxes(moved(head)) for head in heads])


def build_keras_maskrcnn(sizes: Sizes = Sizes(), fork: Fork = Fork()) -> Any:
    """The model in inference, with random weights."""
    name = fork.prefix
    image = KL.Input([None, None, 3], name="input_image")
    meta = KL.Input([12 + sizes.classes], name="input_image_meta")
    anchors = KL.Input([None, 4], name="input_anchors")
    maps = _pyramid(image, sizes, f"{name}_net")
    rpn_scores, rpn_deltas = _proposal_heads(maps, sizes, name)
    rois = Proposals(sizes, fork.images, name=f"{name}_rois")([rpn_scores, rpn_deltas, anchors])

    x = PyramidAlign(sizes.pool, fork.crops_twice, name=f"{name}_align")([rois, meta, *maps[:4]])
    x = KL.TimeDistributed(KL.Conv2D(48, sizes.pool, name="conv"), name=f"{name}_class_conv")(x)
    x = KL.TimeDistributed(KL.BatchNormalization(), name=f"{name}_class_bn")(x)
    x = KL.Activation("relu")(x)
    x = KL.Lambda(lambda item: tf.squeeze(tf.squeeze(item, 3), 2))(x)
    classes = KL.TimeDistributed(KL.Dense(sizes.classes, activation="softmax"), name=f"{name}_class")(x)
    deltas = KL.TimeDistributed(KL.Dense(4 * sizes.classes), name=f"{name}_bbox")(x)
    deltas = KL.Reshape((-1, sizes.classes, 4))(deltas)
    found = Detections(sizes, fork, name=f"{name}_detection")([rois, classes, deltas, meta])

    x = KL.Lambda(lambda item: item[..., :4])(found)
    x = PyramidAlign(sizes.mask_pool, fork.crops_twice, name=f"{name}_align_mask")([x, meta, *maps[:4]])
    for index in range(2):
        x = KL.TimeDistributed(KL.Conv2D(24, 3, padding="same"), name=f"{name}_mask_conv{index}")(x)
        x = KL.TimeDistributed(KL.BatchNormalization(), name=f"{name}_mask_bn{index}")(x)
        x = KL.Activation("relu")(x)
    x = KL.TimeDistributed(KL.Conv2DTranspose(24, 2, 2, activation="relu"), name=f"{name}_mask_deconv")(x)
    masks = KL.TimeDistributed(KL.Conv2D(sizes.classes, 1, activation="sigmoid"), name=f"{name}_mask")(x)
    outputs = [found, classes, deltas, masks, rois, rpn_scores, rpn_deltas]
    return tf_keras.Model([image, meta, anchors], outputs, name=name)


def spread_weights(model: Any, sizes: Sizes, seed: int = 0) -> Any:
    """Random weights whose scores are spread: batch norm knows its inputs' statistics, logits differ by some units."""
    rng = np.random.default_rng(seed)
    gains = {"_class/": 2.0, "deltas": 0.15, "bbox": 0.1, "rpn_scores": 0.4, "_mask/": 3.0, "": 1.4}
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        if "kernel" in variable.name:
            fan_in = shape[-1] * 4 if "deconv" in variable.name else np.prod(shape[:-1])
            gain = next(gain for part, gain in gains.items() if part in variable.name)
            variable.assign(rng.normal(0, gain * fan_in**-0.5, shape))
        elif "gamma" not in variable.name:
            variable.assign(rng.normal(0, 0.1, shape))
    layers = [item for item in model.submodules if isinstance(item, KL.BatchNormalization)]
    for layer in layers:
        layer.momentum = 0.0
    images = model.outputs[0].shape[0]
    image = random_images(sizes, 1, seed=99, images=images)[0]
    model([image, image_meta(sizes, images), pyramid_anchors(sizes, images)], training=True)
    return model


def random_images(sizes: Sizes, number: int, seed: int = 1, images: int = 1) -> list[np.ndarray]:
    """Pixels 0..255 with blobs, mean subtracted: float32 [images, side, side, 3]."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        pixels = rng.uniform(0, 255, (images, 8, 8, 3)).repeat(sizes.side // 8, 1).repeat(sizes.side // 8, 2)
        pixels = pixels + rng.normal(0, 20, (images, sizes.side, sizes.side, 3))
        found.append((np.clip(pixels, 0, 255) - MEAN).astype(np.float32))
    return found


def concrete_function(model: Any) -> Any:
    """The model as a function of its three inputs to its seven outputs, by name."""

    def run(input_image: Any, input_image_meta: Any, input_anchors: Any) -> dict[str, Any]:
        results = model([input_image, input_image_meta, input_anchors], training=False)
        return dict(zip(OUTPUTS, results, strict=True))

    specs = [tf.TensorSpec([None, *item.shape[1:]], tf.float32, name=item.name) for item in model.inputs]
    return tf.function(run).get_concrete_function(*specs)


def save_keras_maskrcnn(model: Any, folder: Any) -> None:
    """A SavedModel with the outputs' names."""
    module = tf.Module()
    module.model, function = model, concrete_function(model)
    tf.saved_model.save(module, str(folder), signatures=function)
