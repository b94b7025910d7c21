"""Where a Mask R-CNN's classifiers start: at the odds of what they will see."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.detectors.build import build_task, create_variables
from stages.core.training.priors import BATCHES, measure_object_share, start_at_priors
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


def batch(objects: int, others: int) -> tuple[Any, dict[str, Any]]:
    """A batch of two levels with so many sampled anchors, and some that are not sampled."""
    values = np.array([1.0] * objects + [0.0] * others + [-1.0] * 7, np.float32)
    return None, {"rpn_score_targets": {"3": tf.constant(values[::2]), "4": tf.constant(values[1::2])}}


def build(name: str) -> Any:
    config = experiment(name, input_size=[64, 64])
    return create_variables(build_task(config).build_model(), config.task.model)


@pytest.mark.parametrize(("objects", "others", "share"), [(9, 89, 0.1), (0, 98, 0.01), (98, 0, 0.99), (0, 0, 0.5)])
def test_the_share_of_objects_is_never_nothing_or_all(objects: int, others: int, share: float) -> None:
    assert measure_object_share([batch(objects, others)], STRATEGY) == pytest.approx(share)


def test_classifiers_of_a_maskrcnn_give_the_shares_before_they_see_anything() -> None:
    model = build("maskrcnn_tiny")
    looked_at = (batch(12, 243) for _ in range(3 * BATCHES))
    share = start_at_priors(model, looked_at, STRATEGY)
    assert share == pytest.approx(12 / 255, rel=0.02)
    assert len(list(looked_at)) == 2 * BATCHES
    tf.debugging.assert_near(tf.sigmoid(model.rpn_head._classifier.bias), share)
    scores = tf.nn.softmax(model.detection_head[0]._classifier.bias).numpy()
    assert scores[0] == pytest.approx(0.75)
    np.testing.assert_allclose(scores[1:], 0.25 / (len(scores) - 1), rtol=1e-5)


def test_other_detectors_stay_as_they_are_and_no_batch_is_made() -> None:
    model = build("retinanet_mobiledet_tiny")
    before = [variable.numpy() for variable in model.variables]

    def batches() -> Any:
        raise AssertionError("no batch is needed")
        yield

    assert start_at_priors(model, batches(), STRATEGY) is None
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
