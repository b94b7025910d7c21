"""Objects that want the same anchor."""

import tensorflow as tf


def winning_claims(anchors: tf.Tensor, objects: tf.Tensor, overlaps: tf.Tensor, num_anchors: int) -> tf.Tensor:
    """Which claims of an object on an anchor hold: of several on one anchor the highest IoU, then the first object.

    Args:
      anchors, objects: int [S], the two sides of each claim.
      overlaps: float32 [S], IoU of the two, 0..1.

    Returns:
      bool [S], true once for each anchor that is claimed.
    """
    highest = tf.tensor_scatter_nd_max(tf.zeros([num_anchors]), anchors[:, None], overlaps)
    is_highest = overlaps >= tf.gather(highest, anchors)
    owners = tf.fill([num_anchors], objects.dtype.max)
    owners = tf.tensor_scatter_nd_min(
        owners, tf.boolean_mask(anchors, is_highest)[:, None], tf.boolean_mask(objects, is_highest)
    )
    return is_highest & (objects == tf.gather(owners, anchors))
