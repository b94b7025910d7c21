"""The calibration list is fixed by its seed, shows every class, and starts with the images that show most."""

from stages.core.datasets.calibration import choose_calibration

SHOWN = {image_id: [1] * (1 + image_id % 3) for image_id in range(1, 60)} | {60: [1, 2], 61: [3], 62: [], 63: [2, 2, 3]}


def test_every_class_is_shown() -> None:
    for seed in range(20):
        chosen = choose_calibration(SHOWN, num_images=5, seed=seed)
        assert {category for image_id in chosen for category in SHOWN[image_id]} == {1, 2, 3}


def test_most_classes_then_most_objects_first() -> None:
    chosen = choose_calibration(SHOWN, num_images=60, seed=0)
    ranks = [(len(set(SHOWN[image_id])), len(SHOWN[image_id])) for image_id in chosen]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(chosen)) == 60


def test_images_without_objects_only_fill_up() -> None:
    assert 62 not in choose_calibration(SHOWN, num_images=62, seed=0)
    assert choose_calibration(SHOWN, num_images=100, seed=0)[-1] == 62


def test_seeded() -> None:
    assert choose_calibration(SHOWN, num_images=9, seed=4) == choose_calibration(SHOWN, num_images=9, seed=4)
    assert choose_calibration(SHOWN, num_images=9, seed=4) != choose_calibration(SHOWN, num_images=9, seed=5)
