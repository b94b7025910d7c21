"""Splits are seeded, rounded sensibly, and never have copies of one image on both sides."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.base.errors import DataError
from stages.core.datasets.samples import Sample, Split
from stages.core.datasets.splitting import assign_splits, draw_fold, draw_splits
from stages.core.params.steps import SplitParams


def sample(content: str, split: Split | None = None, file: str = "a.jpg") -> Sample:
    return Sample(
        source_file=file, path=Path(file), format="jpeg", height=8, width=8, pixels_sha256=content, split=split
    )


def sizes(samples: list[Sample], val: float = 0.2, test: float = 0.0, seed: int = 0) -> tuple[int, int, int]:
    splits, _ = assign_splits(samples, SplitParams(val=val, test=test), seed=seed)
    return len(splits["train"]), len(splits["val"]), len(splits["test"])


@pytest.mark.parametrize(
    ("num", "val", "test", "expected"),
    [
        pytest.param(18, 0.22, 0.0, (14, 4, 0), id="nuts"),
        pytest.param(10, 0.2, 0.1, (7, 2, 1), id="three_ways"),
        pytest.param(3, 0.05, 0.05, (1, 1, 1), id="a_share_above_zero_gets_an_image"),
        pytest.param(1000, 0.2, 0.1, (700, 200, 100), id="many"),
    ],
)
def test_numbers(num: int, val: float, test: float, expected: tuple[int, int, int]) -> None:
    assert sizes([sample(str(index)) for index in range(num)], val, test) == expected


@given(
    copies=st.lists(st.integers(1, 4), min_size=12, max_size=30),
    seed=st.integers(0, 99),
    given_splits=st.lists(st.sampled_from([None, "train", "val", "test"]), min_size=120, max_size=120),
)
def test_copies_never_straddle(copies: list[int], seed: int, given_splits: list[Split | None]) -> None:
    contents = [str(index) for index, num in enumerate(copies) for _ in range(num)]
    samples = [sample(content, split) for content, split in zip(contents, given_splits, strict=False)]
    # Two contents that are certain, so that neither train nor val is empty.
    samples += [sample("x", "train"), sample("y", "train"), sample("z", "val")]
    splits, dropped = assign_splits(samples, SplitParams(val=0.3, test=0.2), seed=seed)
    homes = {split: {found.pixels_sha256 for found in members} for split, members in splits.items()}
    assert not homes["train"] & homes["val"]
    assert not homes["train"] & homes["test"]
    assert not homes["val"] & homes["test"]
    assert sum(map(len, splits.values())) + len(dropped) == len(samples)


def test_given_splits_are_kept_and_the_judged_side_wins_copies() -> None:
    samples = [sample("a", "train", "1"), sample("b", "train", "2"), sample("b", "test", "3"), sample("c", "val", "4")]
    splits, dropped = assign_splits(samples, SplitParams(val=0.5, test=0.4), seed=0)
    assert {split: [found.source_file for found in members] for split, members in splits.items()} == {
        "train": ["1"],
        "val": ["4"],
        "test": ["3"],
    }
    assert [(fate.file, fate.reason, fate.detail) for _, fate in dropped] == [
        ("2", "copy_in_other_split", "train: same pixels as 3 in test")
    ]


def test_val_is_drawn_from_train_where_the_source_has_none() -> None:
    samples = [sample(str(index), "train") for index in range(10)] + [sample("t", "test")]
    assert sizes(samples, val=0.3, test=0.5) == (7, 3, 1)


def test_unassigned_copy_follows_the_assigned_one() -> None:
    samples = [sample("a", None, "1"), sample("a", "test", "2"), sample("b", "train"), sample("c", "val")]
    splits, dropped = assign_splits(samples, SplitParams(val=0.2, test=0.0), seed=0)
    assert [found.source_file for found in splits["test"]] == ["1", "2"]
    assert not dropped


def test_seed_decides_and_order_does_not() -> None:
    contents = [str(index) for index in range(40)]
    first = draw_splits(contents, {"test": 0.1, "val": 0.2}, seed=1)
    assert first == draw_splits(contents[::-1], {"test": 0.1, "val": 0.2}, seed=1)
    assert first != draw_splits(contents, {"test": 0.1, "val": 0.2}, seed=2)
    assert Counter(first.values()) == {"train": 28, "val": 8, "test": 4}


def test_one_more_image_moves_few_others() -> None:
    contents = [str(index) for index in range(100)]
    before = draw_splits(contents, {"val": 0.2}, seed=0)
    after = draw_splits([*contents, "new"], {"val": 0.2}, seed=0)
    assert sum(before[content] != after[content] for content in contents) <= 1


@pytest.mark.parametrize("samples", [[sample("a")], [sample("a", "train")], [sample("a", "val"), sample("b", "val")]])
def test_an_empty_split_is_an_error(samples: list[Sample]) -> None:
    with pytest.raises(DataError, match=r"no image is left for (train|val) \(train \d, val \d, test 0\)"):
        assign_splits(samples, SplitParams(val=0.2, test=0.0), seed=0)


@given(
    copies=st.lists(st.integers(1, 3), min_size=2, max_size=25),
    folds=st.integers(2, 25),
    test=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 9),
)
def test_every_image_is_val_in_one_fold_and_copies_stay_together(
    copies: list[int], folds: int, test: float, seed: int
) -> None:
    contents = [str(index) for index, num in enumerate(copies) for _ in range(num)]
    num_test = sum(split == "test" for split in draw_splits(contents, {"test": test}, seed).values())
    if folds > len(copies) - num_test:
        with pytest.raises(DataError, match=f"prepare.split.folds {folds}: only {len(copies) - num_test} different"):
            draw_fold(contents, test=test, folds=folds, fold=0, seed=seed)
        return
    drawn = [draw_fold(contents, test=test, folds=folds, fold=fold, seed=seed) for fold in range(folds)]
    for content in set(contents):
        found = Counter(splits[content] for splits in drawn)
        assert found == {"test": folds} or found == {"val": 1, "train": folds - 1}
    sizes = [sum(split == "val" for split in splits.values()) for splits in drawn]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1


def test_folds_of_a_source_with_a_train_list_alone_are_cut_from_it() -> None:
    samples = [sample(str(index), "train") for index in range(10)] + [sample("t", "test")]
    seen: list[str] = []
    for fold in range(5):
        splits, _ = assign_splits(samples, SplitParams(folds=5, fold=fold), seed=0)
        assert [found.pixels_sha256 for found in splits["test"]] == ["t"]
        seen += [found.pixels_sha256 for found in splits["val"]]
    assert sorted(seen) == sorted(str(index) for index in range(10))


def test_folds_of_a_source_with_a_val_list_are_an_error() -> None:
    samples = [sample("a", "train"), sample("b", "val"), sample("c")]
    with pytest.raises(DataError, match=r"prepare\.split\.folds 2: the source brings a val split of its own"):
        assign_splits(samples, SplitParams(folds=2), seed=0)
