"""A sample as Model Garden's `TfExampleDecoder` gives it, and what every augmentation does to one.

Keys and types:

- `image`: uint8 [h, w, 3], 0..255; h and w are known only when the graph runs.
- `height`, `width`: int64 scalars, those of `image`.
- `groundtruth_boxes`: float32 [n, 4], [y_min, x_min, y_max, x_max] as fractions of the image, 0..1.
- `groundtruth_classes`: int64 [n]; `groundtruth_is_crowd`: bool [n].
- `groundtruth_area`: float32 [n], in pixels of `image`: of the masks if the data set has them, of the boxes otherwise.
- `groundtruth_instance_masks`: float32 or uint8 [n, h, w], 0 or 1; only in data sets with masks.
- `source_id` and whatever else does not start with `groundtruth_` belongs to the image and passes unchanged.
"""

from typing import Any

import tensorflow as tf

Sample = dict[str, Any]

IMAGE, HEIGHT, WIDTH = "image", "height", "width"
OBJECT_PREFIX = "groundtruth_"
BOXES = "groundtruth_boxes"
CLASSES = "groundtruth_classes"
IS_CROWD = "groundtruth_is_crowd"
AREA = "groundtruth_area"
MASKS = "groundtruth_instance_masks"
ENCODED_MASKS = "groundtruth_instance_masks_png"

FILL = 114
"""Grey of the canvas where no image lies, as in the YOLO family: about the mean of natural images."""


def drop_encoded_masks(sample: Sample) -> Sample:
    """The sample without the PNGs of its masks, which no augmentation changes and no parser reads."""
    return {key: value for key, value in sample.items() if key != ENCODED_MASKS}


def frame_of(sample: Sample) -> Any:
    """Height and width of the image: int32 [2]."""
    return tf.shape(sample[IMAGE])[:2]


def with_image(sample: Sample, image: Any) -> Sample:
    """The sample with another image, its `height` and `width` set accordingly."""
    size = tf.shape(image, out_type=tf.int64)
    return {**sample, IMAGE: image, HEIGHT: size[0], WIDTH: size[1]}


def select_objects(sample: Sample, keep: Any) -> Sample:
    """The sample with only the objects that bool [n] `keep` marks."""
    rows = tf.where(keep)[:, 0]
    return {key: tf.gather(value, rows) if key.startswith(OBJECT_PREFIX) else value for key, value in sample.items()}


def join_objects(sample: Sample, *others: Sample) -> Sample:
    """The sample with the objects of the others appended; all frames must be the same size.

    Raises:
      ValueError: if some have masks and some do not.
    """
    if len({MASKS in each for each in (sample, *others)}) > 1:
        raise ValueError(f"{MASKS}: in some of the samples only")
    return {
        key: tf.concat([value, *(other[key] for other in others)], axis=0) if key.startswith(OBJECT_PREFIX) else value
        for key, value in sample.items()
    }


def fit_to_masks(sample: Sample, cut: Any) -> Sample:
    """Boxes and areas of objects that were cut, from what is left of their masks; what has no pixel left is dropped.

    The part of a box that lies in a crop is in general not the tight box of the part of the object that does. Objects
    that were not cut keep their annotated boxes, which may be finer than whole pixels.

    Args:
      sample: Unchanged if it has no masks.
      cut: bool [n], the objects whose masks have changed.
    """
    if MASKS not in sample:
        return sample
    masks = sample[MASKS]
    size = tf.shape(masks)[1:]
    rows, columns = tf.reduce_max(masks, axis=2) > 0, tf.reduce_max(masks, axis=1) > 0
    (top, bottom), (left, right) = _span(rows, size[0]), _span(columns, size[1])
    boxes = tf.stack([top, left, bottom, right], axis=-1)
    areas = tf.reduce_sum(tf.cast(masks, tf.float32), axis=[1, 2])
    fitted = {
        **sample,
        BOXES: tf.where(cut[:, None], boxes, sample[BOXES]),
        AREA: tf.where(cut, areas, sample[AREA]),
    }
    return select_objects(fitted, tf.reduce_any(rows, axis=1))


def _span(occupied: Any, side: Any) -> tuple[Any, Any]:
    """First and one past the last True of each row of bool [n, side], as fractions of `side`: two float32 [n]."""
    flags = tf.cast(occupied, tf.uint8)
    first = tf.argmax(flags, axis=1, output_type=tf.int32)
    last = side - tf.argmax(flags[:, ::-1], axis=1, output_type=tf.int32)
    return tuple(tf.cast(edge, tf.float32) / tf.cast(side, tf.float32) for edge in (first, last))
