"""SQNR, cosine and largest difference, worked out by hand."""

import numpy as np
import pytest

from stages.core.validating.parity import compare_tensors, measure_parity


def test_a_known_noise() -> None:
    reference = np.asarray([[3.0, 4.0], [0.0, 5.0]])
    got = np.asarray([[3.0, 4.5], [0.0, 5.0]])

    parity = compare_tensors("raw_scores", reference, got)

    assert parity.sqnr_db == pytest.approx(10 * np.log10(50 / 0.25))
    assert parity.cosine == pytest.approx((9 + 18 + 25) / np.sqrt(50 * (9 + 20.25 + 25)))
    assert (parity.max_abs, parity.num_images) == (0.5, 2)


def test_identical_tensors_have_no_noise() -> None:
    values = np.asarray([[1.0, -2.0]])

    parity = compare_tensors("x", values, values)

    assert (parity.sqnr_db, parity.max_abs) == (None, 0.0)
    assert parity.cosine == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_a_number_in_disguise(bad: float) -> None:
    parity = compare_tensors("x", np.asarray([[1.0, 2.0]]), np.asarray([[1.0, bad]]))

    assert (parity.sqnr_db, parity.cosine, parity.max_abs) == (None, None, None)


def test_all_zero_has_no_direction() -> None:
    parity = compare_tensors("x", np.zeros((1, 2)), np.ones((1, 2)))

    assert (parity.sqnr_db, parity.cosine, parity.max_abs) == (None, None, 1.0)


def test_images_are_pooled_and_batch_dimensions_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    floats = [{"boxes": rng.normal(size=(4, 4)), "scores": rng.random((4, 3))} for _ in range(5)]
    noisy = [{name: (array + 0.01)[None] for name, array in row.items()} for row in floats]

    boxes, scores = measure_parity(list(zip(floats, noisy, strict=True)))

    assert (boxes.output, scores.output) == ("boxes", "scores")
    assert boxes.num_images == 5
    power = np.mean([row["boxes"] ** 2 for row in floats])
    assert boxes.sqnr_db == pytest.approx(10 * np.log10(power / 0.01**2))


def test_nothing_to_compare_and_shapes_that_differ() -> None:
    assert measure_parity([]) == ()
    with pytest.raises(ValueError, match="raw_boxes: shape"):
        compare_tensors("raw_boxes", np.zeros((1, 4)), np.zeros((1, 5)))
