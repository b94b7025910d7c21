"""Balanced sampling: factors as the formula has them, and images as often as their factors say."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from stages.core.training.sampling import repeat_factors, repeat_images

pytestmark = pytest.mark.slow

CLASSES = st.lists(st.sets(st.integers(1, 4), max_size=3), min_size=1, max_size=30)


def write_truth(path: Path, shown: list[set[int]], ignored: dict[int, int] | None = None) -> Path:
    """Images 1, 2, ... that show these classes; `ignored`: image id to the class of a crowd in it."""
    entries = [{"image_id": i, "category_id": c, "iscrowd": 0} for i, classes in enumerate(shown, 1) for c in classes]
    entries += [{"image_id": i, "category_id": c, "iscrowd": 1} for i, c in (ignored or {}).items()]
    path.write_text(json.dumps({"images": [{"id": i} for i in range(1, len(shown) + 1)], "annotations": entries}))
    return path


@given(shown=CLASSES, threshold=st.one_of(st.none(), st.floats(0.01, 1.0)))
def test_factors_are_those_of_the_rarest_class(
    tmp_path_factory: pytest.TempPathFactory, shown: list[set[int]], threshold: float | None
) -> None:
    path = write_truth(tmp_path_factory.getbasetemp() / "truth.json", shown)
    factors = repeat_factors(path, threshold=threshold)
    assert list(factors) == list(range(1, len(shown) + 1))
    shares = {c: sum(c in classes for classes in shown) / len(shown) for c in range(1, 5)}
    limit = max(shares.values()) if threshold is None else threshold
    for image_id, classes in enumerate(shown, start=1):
        expected = max([1.0, *(math.sqrt(limit / shares[c]) for c in classes)])
        assert factors[image_id] == pytest.approx(expected)
        if not classes:
            assert factors[image_id] == 1.0


def test_what_is_ignored_shows_no_class(tmp_path: Path) -> None:
    shown: list[set[int]] = [{1}] * 8 + [{2}] + [set()]
    plain = repeat_factors(write_truth(tmp_path / "a.json", shown))
    assert plain[9] == pytest.approx(math.sqrt(8))
    assert repeat_factors(write_truth(tmp_path / "b.json", shown, ignored={10: 2, 1: 3})) == plain


def test_without_any_object_every_image_comes_once(tmp_path: Path) -> None:
    assert repeat_factors(write_truth(tmp_path / "a.json", [set(), set()])) == {1: 1.0, 2: 1.0}


def epochs(factors: dict[int, float], num: int, seed: int = 0) -> list[list[int]]:
    """Ids of each of some epochs."""
    ids = tf.data.Dataset.from_tensor_slices(list(factors)).map(lambda number: tf.cast(number, tf.int64))
    dataset = repeat_images(ids, factors, image_id=lambda number: number, seed=seed)
    marked = dataset.concatenate(tf.data.Dataset.from_tensors(tf.constant(-1, tf.int64))).repeat(num)
    found: list[list[int]] = [[]]
    for number in marked.as_numpy_iterator():
        if number < 0:
            found.append([])
        else:
            found[-1].append(int(number))
    return found[:-1]


def test_images_come_as_often_as_their_factors_say() -> None:
    """Nine images of a common class, one of a rare one, and one without objects: the frequencies over 400 epochs."""
    factors = {**dict.fromkeys(range(1, 10), 1.0), 10: 3.0, 11: 1.25, 12: 1.0}
    found = epochs(factors, 400)
    assert all(Counter(epoch)[10] == 3 for epoch in found)
    assert all(Counter(epoch)[key] == 1 for epoch in found for key in (1, 12))
    extra = [Counter(epoch)[11] - 1 for epoch in found]
    assert set(extra) == {0, 1}
    # Four standard deviations of a share of 0.25 in 400 draws.
    assert sum(extra) / 400 == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 400))


def test_the_seed_is_the_draw() -> None:
    factors = dict.fromkeys(range(1, 41), 1.5)
    first, again, other = (epochs(factors, 2, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first[0] != first[1]
