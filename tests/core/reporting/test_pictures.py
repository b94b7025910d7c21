from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.core.base.layout import Layout
from stages.core.datasets.prepared import read_split
from stages.core.datasets.subset import choose_subset
from stages.core.processing.stored_outputs import StoredOutputs
from stages.core.reporting.collect import read_cells
from stages.core.reporting.pictures import Picture, choose_ids, read_moved, read_pictures
from stages.core.reporting.sheets import CAPTION_HEIGHT, PANEL_WIDTH, draw_panel, draw_sheet, write_sheets
from stages.core.results.validation import MovedImage
from tests.builders import write_cell, write_project

MODELS, SCHEMES = ("retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet"), ("float32", "int8")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_project(tmp_path, MODELS, SCHEMES)


def pictures_of(layout: Layout, *, num: int = 2, score: float = 0.5) -> tuple[Picture, ...]:
    cells = read_cells(layout, MODELS, SCHEMES)
    return read_pictures(layout, cells, read_split(layout.split("val")), num_pictures=num, score_threshold=score)


def stored(*image_ids: int) -> StoredOutputs:
    return StoredOutputs("val", np.asarray(image_ids, np.int64), {}, np.zeros(0, np.int64), {})


def test_the_first_images_of_the_draw_are_shown_if_anyone_ran_on_them() -> None:
    first, second, third, *_ = choose_subset(range(1, 9), 8)
    assert choose_ids([stored(second), stored(first, third)], range(1, 9), 2) == tuple(sorted((first, second)))
    assert choose_ids([stored(third, second)], range(1, 9), 1) == (second,)
    assert choose_ids([stored(99)], range(1, 9), 2) == ()


def test_the_float_panel_is_the_trained_variants_whatever_the_order_of_schemes(layout: Layout) -> None:
    cells = read_cells(layout, MODELS[:1], ("float32", "int8"))
    qat = replace(cells[1], conversion=replace(cells[1].conversion, source="qat"))
    for own in ((*cells, qat), (qat, *cells)):
        split = read_split(layout.split("val"))
        (picture,) = read_pictures(layout, own, split, num_pictures=1, score_threshold=0.5)
        assert picture.panels[1].title == "float"
        assert picture.panels[1].shapes


def test_every_model_shows_truth_float_and_each_scheme_on_the_same_images(layout: Layout) -> None:
    pictures = pictures_of(layout)
    assert [(p.model, p.image.image_id) for p in pictures] == [
        (m, i) for m in MODELS for i in sorted(choose_subset(range(1, 7), 2))
    ]
    for picture in pictures:
        assert [panel.title for panel in picture.panels] == ["ground truth", "float", "float32", "int8"]
        assert all(panel.shapes for panel in picture.panels)


def test_boxes_land_on_the_objects(layout: Layout) -> None:
    picture = pictures_of(layout, num=1)[0]
    truth, found = picture.panels[0].shapes, picture.panels[1].shapes
    assert truth is not None
    assert found is not None
    boxes = {shape.box_xyxy for shape in truth}
    for shape in found:
        assert min(max(abs(a - b) for a, b in zip(shape.box_xyxy, box, strict=True)) for box in boxes) < 3


def test_masks_are_drawn_for_models_that_have_them(layout: Layout) -> None:
    for picture in pictures_of(layout):
        for panel in picture.panels[1:]:
            assert all(bool(shape.outlines) == (picture.model == "maskrcnn_mobiledet") for shape in panel.shapes or ())


def test_weak_detections_are_left_out(layout: Layout) -> None:
    picture = pictures_of(layout, num=1, score=1.01)[0]
    assert [panel.shapes for panel in picture.panels[1:]] == [(), (), ()]


def test_a_scheme_without_stored_detections_says_why(layout: Layout) -> None:
    layout.validated_outputs("retinanet_mobiledet_edgetpu", "int8").unlink()
    (layout.reference("retinanet_mobiledet_edgetpu")).unlink()
    panels = pictures_of(layout, num=1)[0].panels
    assert [panel.shapes is None for panel in panels] == [False, True, False, True]
    assert panels[3].remark == "no detections stored for this image"


def test_detections_of_another_file_are_not_drawn(layout: Layout) -> None:
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"artifact_sha256": "cd" * 32})
    assert pictures_of(layout, num=1)[0].panels[3].shapes is None


def test_images_that_moved_stand_beside_the_float_models(layout: Layout) -> None:
    cells = read_cells(layout, MODELS, SCHEMES)
    split = read_split(layout.split("val"))
    cards = read_moved(layout, cells, split, num_pictures=20)
    assert [card.name for card in cards] == [f"{model}/{scheme}" for model in MODELS for scheme in SCHEMES]
    for card in cards:
        (picture,) = card.pictures
        assert (picture.image.image_id, picture.f1) == (3, 0.5)
        assert [panel.title for panel in picture.panels] == ["ground truth", "float", card.name.split("/")[1]]
        assert all(panel.shapes for panel in picture.panels)
        # The float model finds all; so does int8, whose boxes are off by a few pixels here.
        assert [panel.f1 for panel in picture.panels] == [None, 1.0, 1.0]


def test_many_files_share_the_worst_images_of_a_page(layout: Layout) -> None:
    (cell,) = read_cells(layout, MODELS[:1], ("int8",))
    agreement = cell.validation.agreement
    assert agreement is not None
    moved = tuple(MovedImage(image_id=key, f1=0.1 * key, score_shift=0.0) for key in range(1, 7))
    apart = replace(cell, validation=replace(cell.validation, agreement=replace(agreement, most_moved=moved)))
    for num_files, each in ((1, 5), (60, 4), (300, 1)):
        cards = read_moved(layout, [apart] * num_files, read_split(layout.split("val")), num_pictures=5)
        assert [len(card.pictures) for card in cards] == [each] * num_files
        assert [picture.image.image_id for picture in cards[0].pictures] == list(range(1, each + 1))


def test_files_that_find_the_same_have_no_worst_images(layout: Layout) -> None:
    cells = read_cells(layout, MODELS[:1], ("float32",))
    agreement = cells[0].validation.agreement
    assert agreement is not None
    same = replace(agreement, most_moved=tuple(replace(moved, f1=1.0) for moved in agreement.most_moved))
    equal = replace(cells[0], validation=replace(cells[0].validation, agreement=same))
    assert read_moved(layout, [equal], read_split(layout.split("val")), num_pictures=20) == ()


def test_contact_sheets_hold_all_panels(layout: Layout, tmp_path: Path) -> None:
    pictures = pictures_of(layout)
    write_sheets(pictures, tmp_path / "sheets")
    assert len(list((tmp_path / "sheets").glob("*/*.jpg"))) == 4
    sheet = draw_sheet(pictures[0])
    assert sheet.size == (4 * PANEL_WIDTH, PANEL_WIDTH * 128 // 160 + CAPTION_HEIGHT)


def test_objects_change_the_pixels_where_they_are(layout: Layout) -> None:
    picture = next(p for p in pictures_of(layout) if p.model == "maskrcnn_mobiledet")
    pixels = np.full((128, 160, 3), 128, np.uint8)
    shape = (picture.panels[1].shapes or ())[0]
    drawn = np.asarray(draw_panel(pixels, picture.panels[1]))
    x, y = (shape.box_xyxy[0] + shape.box_xyxy[2]) / 2, (shape.box_xyxy[1] + shape.box_xyxy[3]) / 2
    assert not np.array_equal(drawn[int(y * 2), int(x * 2)], [128, 128, 128])
