"""What was found is what was kept plus what was rejected; too much rejected is an error that says what and why."""

from pathlib import Path

import pytest

from stages.core.base.errors import DataError
from stages.core.datasets.checking import CheckedImage
from stages.core.datasets.samples import Sample, SampleObject
from stages.core.datasets.tally import Tally
from stages.core.results.preparation import ImageFate

SAMPLE = Sample(
    source_file="a.jpg",
    path=Path("a.jpg"),
    format="jpeg",
    height=8,
    width=8,
    pixels_sha256="a",
    objects=(SampleObject(category_id=1, box_xyxy=(0, 0, 4, 4), area=16),) * 2,
)


def fate(kind: str = "image", action: str = "rejected", reason: str = "truncated", file: str = "b.jpg") -> ImageFate:
    return ImageFate(file=file, kind=kind, action=action, reason=reason, detail="half a file")  # type: ignore[arg-type]


def filled(num_good: int, num_bad: int) -> Tally:
    tally = Tally()
    for _ in range(num_good):
        tally.add(CheckedImage(sample=SAMPLE, num_objects=2))
    for _ in range(num_bad):
        tally.add(CheckedImage(sample=None, num_objects=3, fates=(fate(),)))
    return tally


def test_counts_add_up() -> None:
    tally = filled(8, 2)
    tally.add(CheckedImage(sample=SAMPLE, num_objects=3, fates=(fate("object", reason="box_outside"),)))
    tally.add(
        CheckedImage(
            sample=SAMPLE,
            num_objects=2,
            fates=(fate(action="repaired", reason="cmyk"), fate(action="repaired", reason="wrong_extension")),
        )
    )
    tally.drop_copies([(SAMPLE, fate(reason="copy_in_other_split", file="a.jpg"))])
    report = tally.report("coco", {})
    assert (report.images_found, report.images_kept, report.images_rejected, report.images_repaired) == (12, 9, 3, 1)
    assert (report.objects_found, report.objects_kept, report.objects_rejected) == (27, 18, 9)
    assert report.reasons == {
        "box_outside": 1,
        "cmyk": 1,
        "copy_in_other_split": 1,
        "truncated": 2,
        "wrong_extension": 1,
    }


def test_as_much_as_is_allowed_passes() -> None:
    filled(19, 1).judge("raw", 0.05)


def test_more_than_is_allowed_says_how_many_and_why() -> None:
    with pytest.raises(DataError) as error:
        filled(18, 2).judge("raw", 0.05)
    assert str(error.value) == (
        "raw: 2 of 20 images rejected (10.0%; prepare.max_rejected_fraction allows 5.0%): truncated 2; "
        "first: b.jpg: truncated (half a file)"
    )


def test_objects_are_judged_too() -> None:
    tally = filled(20, 0)
    tally.add(CheckedImage(sample=SAMPLE, num_objects=6, fates=(fate("object", reason="bad_mask"),) * 4))
    with pytest.raises(DataError, match="4 of 46 objects rejected"):
        tally.judge("raw", 0.05)


def test_what_was_asked_for_is_no_bad_data() -> None:
    tally = Tally([fate(reason="not_listed")] * 9)
    tally.add(CheckedImage(sample=SAMPLE, num_objects=2))
    tally.judge("raw", 0.0)
    assert tally.report("voc", {}).images_rejected == 9


@pytest.mark.parametrize(("kind", "reason"), [("image", "not_listed"), ("object", "difficult")])
def test_what_was_asked_for_does_not_hide_bad_data(kind: str, reason: str) -> None:
    tally = Tally([fate(kind, reason=reason)] * 98)
    tally.add(CheckedImage(sample=SAMPLE, num_objects=2))
    tally.add(CheckedImage(sample=None, num_objects=0, fates=(fate(kind),)))
    with pytest.raises(DataError, match=f"1 of 2 {kind}s rejected"):
        tally.judge("raw", 0.05)
