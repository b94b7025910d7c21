"""The fixed draw: the same for everyone, for ever."""

from stages.core.datasets.subset import choose_shown, choose_subset


def test_the_draw_is_fixed() -> None:
    assert choose_subset(range(1, 201), 6) == (106, 7, 169, 91, 66, 160)


def test_the_order_of_the_ids_does_not_matter() -> None:
    assert choose_subset([5, 3, 9, 1], 3) == choose_subset({1, 3, 5, 9}, 3)


def test_a_smaller_draw_begins_a_larger_one() -> None:
    assert choose_subset(range(100), 50)[:7] == choose_subset(range(100), 7)


def test_all_where_there_are_fewer() -> None:
    assert sorted(choose_subset([4, 2], 50)) == [2, 4]


def test_shown_images_are_within_the_subset() -> None:
    assert choose_shown(range(100), 4, subset_images=50) == choose_subset(range(100), 50)[:4]
    assert len(choose_shown(range(100), 4, subset_images=3)) == 3
    assert choose_shown(range(100), 0, subset_images=50) == ()
