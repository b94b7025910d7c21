"""What parameters may name is what the tables hold; what cannot work as meant is said."""

from typing import Any, get_args

import pytest

from stages.core.params.training import AugmentationParams, LossParams
from stages.core.training.augmentation import check_augmentation
from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.box_losses import BOX_LOSSES
from stages.core.training.losses.class_losses import CLASS_LOSSES
from stages.core.training.losses.mask_losses import MASK_LOSSES
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow

TABLES = {"assigner": ASSIGNERS, "box": BOX_LOSSES, "classes": CLASS_LOSSES, "mask": MASK_LOSSES}


@pytest.mark.parametrize("name", TABLES)
def test_parameters_name_the_rows_of_the_table(name: str) -> None:
    assert set(get_args(LossParams.model_fields[name].annotation)) == set(TABLES[name])


def test_every_augmentation_and_loss_reaches_the_configuration() -> None:
    changed: dict[str, Any] = {"orientation_free": True, "color_jitter": 0.1, "random_crop": 0.2, "mosaic": 0.3}
    changed |= {"mix_up": 0.4, "copy_paste": 0.5, "plain_share": 0.6}
    own = set(AugmentationParams.model_fields) - {"horizontal_flip", "scale_min", "scale_max", "policy"}
    assert set(changed) == own
    losses = {"assigner": "atss", "box": "ciou", "classes": "varifocal", "mask": "dice", "class_weights": "balanced"}
    assert set(losses) == set(LossParams.model_fields)
    for model in ("retinanet_mobiledet_tiny", "maskrcnn_tiny"):
        task = experiment(model, augmentation=changed, losses=losses, image_cache_mb=7).task
        assert {name: getattr(task.augmentation, name) for name in own} == changed
        assert task.methods.as_dict() == losses
        assert task.image_cache_mb == 7


@pytest.mark.parametrize(
    ("model", "augmentation", "num_images", "expected"),
    [
        ("retinanet_mobiledet_tiny", {"mosaic": 0.5}, 3, "the train split has 3"),
        ("retinanet_mobiledet_tiny", {"mosaic": 0.5}, 100, None),
        ("maskrcnn_tiny", {"mix_up": 0.5}, 100, "without masks: not used here"),
        ("retinanet_mobiledet_tiny", {"mix_up": 0.5}, 100, None),
        ("retinanet_mobiledet_tiny", {"copy_paste": 0.5}, 100, "with masks: not used here"),
        ("maskrcnn_tiny", {"copy_paste": 0.5}, 100, None),
        ("retinanet_mobiledet_tiny", {"mix_up": 0.5}, 3, "puts 2 images together"),
        ("retinanet_mobiledet_tiny", {}, 1, None),
    ],
)
def test_what_cannot_work_is_a_warning(
    model: str, augmentation: dict[str, Any], num_images: int, expected: str | None
) -> None:
    notes = check_augmentation(experiment(model, augmentation=augmentation).task, num_images)
    assert len(notes) == (expected is not None)
    assert all(expected in note and note.startswith("warning: ") for note in notes if expected)
