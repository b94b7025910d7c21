import itertools

from stages.core.reporting.shapes import Shape
from stages.core.reporting.texts import LETTER_WIDTH, overlap, with_texts

SIZE = (120, 200)


def shape(left: float, top: float, label: str = "circle") -> Shape:
    return Shape(label=label, category=1, score=0.9, box_xyxy=(left, top, left + 40, top + 40))


def areas(shapes: list[Shape], height: float = 10.0) -> list[tuple[float, float, float, float]]:
    """What the names cover, by where they are written."""
    found = []
    for one, position in with_texts(shapes, SIZE, height):
        width = len(one.text) * height * LETTER_WIDTH
        left = position.x - width if position.ends else position.x
        found.append((left, position.y - height * 0.8, left + width, position.y + height * 0.2))
    return found


def test_a_name_stands_above_its_box() -> None:
    (position,) = [position for _, position in with_texts([shape(20, 50)], SIZE, 10.0)]
    assert 20 < position.x < 24
    assert 45 < position.y < 50


def test_names_of_one_box_stand_below_each_other() -> None:
    found = areas([shape(20, 50), shape(21, 51, "square"), shape(22, 50, "triangle")])
    assert not any(overlap(a, b) for a, b in itertools.combinations(found, 2))
    assert [area[1] for area in found] == sorted(area[1] for area in found)


def test_names_stay_in_the_picture() -> None:
    for left, top, right, bottom in areas([shape(0, 0), shape(155, 0), shape(155, 110), shape(110, 40, "a long name")]):
        assert left >= 0
        assert top >= 0
        assert right <= SIZE[1]
        assert bottom <= SIZE[0]


def test_where_no_position_is_left_a_name_is_written_all_the_same() -> None:
    crowd = [shape(20, 50) for _ in range(20)]
    assert len(with_texts(crowd, SIZE, 10.0)) == 20
