"""Colours, labels and masks on pictures."""

import numpy as np
import pytest

from stages.core.predicting.colors import class_color, contrast, readable_on
from stages.core.predicting.drawing import draw_detections, place_label
from stages.core.predicting.records import folder_name
from stages.core.processing.detections import Detections

LABELS = {1: "circle", 2: "square"}


def one_detection(*, masks: bool = False, side: int = 640, box: tuple[float, ...] = (200, 200, 400, 400)) -> Detections:
    return Detections(
        boxes_xyxy=np.asarray([box], np.float32),
        scores=np.asarray([0.9], np.float32),
        classes=np.asarray([1], np.int32),
        masks=np.ones((1, 4, 4), np.float32) if masks else None,
        image_size=(side, side),
    )


def test_a_name_is_readable_on_the_colour_of_every_class() -> None:
    assert min(contrast(readable_on(class_color(i)), class_color(i)) for i in range(1, 201)) >= 4.5


def test_neighbouring_classes_differ_and_keep_their_colour() -> None:
    colors = [class_color(i) for i in range(1, 91)]
    assert len(set(colors)) == 90
    assert colors == [class_color(i) for i in range(1, 91)]
    near = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors) for b in colors[i + 1 : i + 4]]
    assert min(near) > 90


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (128, 128, 128), class_color(1)])
def test_box_and_label_show_on_any_background(background: tuple[int, int, int]) -> None:
    pixels = np.full((640, 640, 3), background, np.uint8)
    drawn = draw_detections(pixels, one_detection(), LABELS)
    assert drawn.shape == pixels.shape
    plate, edge = drawn[170:200, 200:300], drawn[300, 190:210]
    ink = readable_on(class_color(1))
    assert (plate == ink).all(axis=2).sum() > 50, "the letters and the rim"
    for row in (plate.reshape(-1, 3), edge):
        assert max(contrast(tuple(map(int, color)), background) for color in row) > 3
    np.testing.assert_array_equal(drawn[500:], pixels[500:])


def test_a_mask_lets_the_picture_through() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (640, 640, 3), np.uint8)
    drawn = draw_detections(pixels, one_detection(masks=True), LABELS)
    inside, before = drawn[250:350, 250:350].astype(float), pixels[250:350, 250:350]
    np.testing.assert_allclose(inside, 0.6 * before + 0.4 * np.asarray(class_color(1)), atol=0.51)


def test_small_pictures_are_drawn_larger() -> None:
    detections = one_detection(side=100, box=(10, 10, 60, 60))
    assert draw_detections(np.zeros((100, 100, 3), np.uint8), detections, LABELS).shape == (500, 500, 3)


def test_nothing_found_changes_nothing() -> None:
    pixels = np.full((500, 600, 3), 77, np.uint8)
    nothing = one_detection().above(0.95)
    np.testing.assert_array_equal(draw_detections(pixels, nothing, LABELS), pixels)


@pytest.mark.parametrize(
    ("box", "rectangle"),
    [
        ((100, 100, 200, 200), (100, 80, 160, 100)),
        ((100, 5, 200, 200), (100, 5, 160, 25)),
        ((380, 100, 399, 200), (340, 80, 400, 100)),
        ((-5, 0, 400, 300), (0, 0, 60, 20)),
    ],
    ids=["above", "no room above", "right edge", "whole picture"],
)
def test_labels_stay_in_the_picture(box: tuple[float, ...], rectangle: tuple[float, ...]) -> None:
    assert place_label(box, (60, 20), (400, 300), []) == rectangle  # type: ignore[arg-type]


def test_labels_of_equal_boxes_do_not_cover_each_other() -> None:
    taken: list[tuple[float, float, float, float]] = []
    for _ in range(4):
        taken.append(place_label((100, 100, 200, 200), (60, 20), (400, 300), taken))
    assert len({rectangle[1] for rectangle in taken}) == 4


@pytest.mark.parametrize(("label", "name"), [("a b/c", "a_b_c"), ("..", "class_7"), ("été", "été"), ("", "class_7")])
def test_class_names_are_safe_as_folders(label: str, name: str) -> None:
    assert folder_name(label, 7) == name
