"""SSDLite learns by the published losses, on its own anchors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stages.core.base.errors import ParamsError
from stages.core.base.layout import Layout
from stages.core.datasets.prepare import prepare_data
from stages.core.detectors.anchors import level_anchors
from stages.core.params.steps import PrepareParams
from stages.core.training.clock import TrainingLength
from stages.core.training.losses.detection_losses import DetectionLosses
from stages.core.training.tasks import TrainingSetup, build_training_task
from tests.experiment_builder import experiment
from tests.loss_scene import NUM_CLASSES, make_labels, make_outputs

pytestmark = pytest.mark.slow

SIZE = 128
CODER = (10.0, 10.0, 5.0, 5.0)
STEPS, RATE = 25, 0.01


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    layout = Layout(tmp_path_factory.mktemp("scenes"))
    params = {
        "num_shards": 1,
        "calibration_images": 2,
        "synthetic": {"num_train": 8, "num_val": 2, "num_test": 0, "size": SIZE},
    }
    prepare_data(PrepareParams.model_validate(params), folder=layout.root, out_dir=layout.prepared)
    config = experiment("ssdlite_tiny", input_size=[SIZE, SIZE], batch_size=4)
    for data in (config.task.train_data, config.task.validation_data):
        data.input_path = str(layout.root / data.input_path)
    config.task.validation_data.global_batch_size = 2
    setup = TrainingSetup(
        annotations=layout.annotations("train"),
        length=TrainingLength(steps=STEPS, max_minutes=None),
        average_follows_clock=False,
    )
    return build_training_task(config, setup, logging_dir=Path(layout.root))


def test_training_and_evaluation_have_the_anchors_of_the_row(task: Any) -> None:
    expected = level_anchors(task.task_config.model, (SIZE, SIZE))
    for data in (task.task_config.train_data, task.task_config.validation_data):
        images, labels = next(iter(task.build_inputs(data)))
        assert np.abs(images).max() <= 1
        assert list(labels["anchor_boxes"]) == list(expected)
        for level, boxes in labels["anchor_boxes"].items():
            np.testing.assert_allclose(np.reshape(boxes[0], (-1, 4)), expected[level], rtol=1e-6)
            assert labels["cls_targets"][level].shape[1:] == (*boxes.shape[1:3], boxes.shape[3] // 4)


def test_it_learns(task: Any) -> None:
    """One batch over and over: scores and boxes are learned, by weights of backbone, extra maps and predictors."""
    tf_keras.utils.set_random_seed(0)
    model = task.build_model()
    batch = next(iter(task.build_inputs(task.task_config.train_data)))
    optimizer = tf_keras.optimizers.legacy.Adam(RATE)
    before = {name: variable.numpy() for name, variable in watched(model).items()}
    step: Callable[[], Any] = tf.function(lambda: task.train_step(batch, model=model, optimizer=optimizer))
    losses = [float(step()["loss"]) for _ in range(STEPS)]
    # A positive starts with a score of 0.01, and so with the focal loss of that; boxes come on top.
    assert 3.0 < losses[0] < 5.0
    assert losses[-1] < 0.5 * losses[0]
    assert all(np.abs(variable - before[name]).max() > 0 for name, variable in watched(model).items())


def watched(model: Any) -> dict[str, Any]:
    parts = {"backbone": model.backbone, "extra maps": model.decoder, "head": model.head}
    return {name: part.trainable_variables[0] for name, part in parts.items()}


def test_losses_are_the_apis() -> None:
    """Weighted sigmoid focal and smooth L1 loss, both divided by the number of matched anchors, by hand."""
    images = [([[6.0, 9.0, 27.0, 22.0], [30.0, 20.0, 58.0, 62.0]], [1, 3]), ([], [])]
    labels, outputs = make_labels(images, coder_weights=CODER), make_outputs(2, np.random.default_rng(3))
    logits, codes = (rows(outputs[name], size) for name, size in (("cls_outputs", NUM_CLASSES), ("box_outputs", 4)))
    classes, targets = rows(labels["cls_targets"], 1)[:, 0].astype(int), rows(labels["box_targets"], 4)
    hits = np.eye(NUM_CLASSES)[np.maximum(classes, 0)] * (classes >= 0)[:, None]
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    likely = np.where(hits > 0, scores, 1 - scores)
    focal = -np.where(hits > 0, 0.75, 0.25) * (1 - likely) ** 2 * np.log(likely)
    errors = np.abs(codes - targets)[classes >= 0]
    smooth = np.where(errors <= 1, 0.5 * errors**2, errors - 0.5).mean(axis=1)
    matched = (classes >= 0).sum()
    expected = [focal.sum() / matched, smooth.sum() / matched]

    losses = build_losses()
    total, class_loss, box_loss = losses(outputs, labels)
    np.testing.assert_allclose([class_loss, box_loss], expected, rtol=1e-4)
    np.testing.assert_allclose(total, sum(expected), rtol=1e-4)


def test_a_batch_without_objects_has_a_loss() -> None:
    labels, outputs = make_labels([([], [])], coder_weights=CODER), make_outputs(1, np.random.default_rng(3))
    assert all(np.isfinite(value) for value in build_losses()(outputs, labels))


def build_losses() -> DetectionLosses:
    """Those of the row, for the scene's number of classes."""
    config = experiment("ssdlite_tiny")
    config.task.model.num_classes = NUM_CLASSES
    setup = TrainingSetup(
        annotations=Path("none"), length=TrainingLength(steps=1, max_minutes=None), average_follows_clock=False
    )
    losses: DetectionLosses = build_training_task(config, setup, logging_dir=Path())._losses(has_objects=False)
    return losses


def rows(levels: Any, size: int) -> np.ndarray:
    return np.concatenate([np.reshape(values, (values.shape[0], -1, size)) for values in levels.values()], 1).reshape(
        -1, size
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"losses": {"assigner": "task_aligned"}}, "losses.assigner: task_aligned"),
        ({"overrides": {"task": {"model": {"anchor": {"anchor_size": 3.0}}}}}, "model.anchor.anchor_size: an SSDLite"),
        ({"overrides": {"task": {"model": {"head": {"num_convs": 2}}}}}, "model.head: an SSDLite has none"),
        ({"overrides": {"task": {"model": {"max_level": 8}}}}, "levels 4 to 8 and 4 extra_depths do not go together"),
    ],
    ids=["assigner", "anchor", "head", "levels"],
)
def test_what_an_ssdlite_has_not_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=rf"train\.ssdlite_tiny\..*{says}"):
        experiment("ssdlite_tiny", **settings)
