"""The count of what was kept, repaired and rejected, and the judgement whether it is too much."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from stages.core.base.errors import DataError
from stages.core.base.hashing import hash_value
from stages.core.datasets.box_counts import BoxCounts
from stages.core.datasets.checking import CheckedImage
from stages.core.datasets.data_files import to_printable
from stages.core.datasets.samples import Sample, Split
from stages.core.results.preparation import ImageFate, PrepareReport, SplitSummary

ON_REQUEST = frozenset({"difficult", "duplicate", "not_listed"})
"""Reasons that follow from a parameter or a split list, or lose nothing: counted and reported, but no sign of bad data.
"""


class Tally:
    """Counts images and objects while they are checked.

    Attributes:
      fates: Everything repaired or rejected, in the order of the source.
      boxes: Of the images that could be read.
    """

    def __init__(self, fates: Iterable[ImageFate] = ()) -> None:
        self.fates = list(fates)
        self.boxes = BoxCounts()
        rejected = Counter(fate.kind for fate in self.fates if fate.action == "rejected")
        self._images_found = rejected["image"]
        self._objects_found = rejected["object"]
        self._images_kept = 0
        self._objects_kept = 0

    def add(self, checked: CheckedImage) -> None:
        """Counts one image and its objects; those of a rejected image are rejected with it."""
        self.fates += checked.fates
        self.boxes += checked.boxes
        self._images_found += 1
        self._objects_found += checked.num_objects
        if checked.sample:
            self._images_kept += 1
            self._objects_kept += len(checked.sample.objects)

    def drop_copies(self, copies: Sequence[tuple[Sample, ImageFate]]) -> None:
        """Takes images out again that gave way to a copy in another split."""
        self.fates += [fate for _, fate in copies]
        self._images_kept -= len(copies)
        self._objects_kept -= sum(len(sample.objects) for sample, _ in copies)

    def judge(self, where: str, max_rejected_fraction: float) -> None:
        """Raises DataError when a larger share of images, or of objects in kept images, was rejected than allowed.

        What was left out on request counts on neither side: it would only hide how bad the rest is.
        """
        asked = Counter[str](fate.kind for fate in self.fates if fate.reason in ON_REQUEST)
        for kind, total in (("image", self._images_found), ("object", self._objects_found)):
            found = total - asked[kind]
            bad = [fate for fate in self.fates if self._counts(fate, kind)]
            if len(bad) <= max_rejected_fraction * found:
                continue
            reasons = ", ".join(
                f"{reason} {num}" for reason, num in Counter(fate.reason for fate in bad).most_common(4)
            )
            first = f"{bad[0].file}: {bad[0].reason}" + (f" ({bad[0].detail})" if bad[0].detail else "")
            raise DataError(
                f"{where}: {len(bad)} of {found} {kind}s rejected ({len(bad) / found:.1%}; "
                f"prepare.max_rejected_fraction allows {max_rejected_fraction:.1%}): {reasons}; first: {first}"
            )

    @staticmethod
    def _counts(fate: ImageFate, kind: str) -> bool:
        return fate.kind == kind and fate.action == "rejected" and fate.reason not in ON_REQUEST

    def report(
        self,
        source: str,
        splits: dict[Split, SplitSummary],
        *,
        notes: Sequence[str] = (),
        leaks: Mapping[str, int] = MappingProxyType({}),
        near_duplicates: Mapping[str, int] = MappingProxyType({}),
    ) -> PrepareReport:
        """Everything, as `report.json` has it."""
        repaired = {kind: self._num_repaired(kind) for kind in ("image", "object")}
        reasons = Counter(fate.reason for fate in self.fates)
        return PrepareReport(
            source=source,
            images_found=self._images_found,
            images_kept=self._images_kept,
            images_repaired=repaired["image"],
            images_rejected=self._images_found - self._images_kept,
            objects_found=self._objects_found,
            objects_kept=self._objects_kept,
            objects_repaired=repaired["object"],
            objects_rejected=self._objects_found - self._objects_kept,
            reasons=dict(sorted(reasons.items())),
            fates=tuple(
                replace(fate, file=to_printable(fate.file), detail=to_printable(fate.detail)) for fate in self.fates
            ),
            notes=tuple(map(to_printable, notes)),
            leaks=dict(leaks),
            near_duplicates=dict(near_duplicates),
            splits={str(split): summary for split, summary in splits.items()},
            sha256=hash_value({split: summary.sha256 for split, summary in splits.items()}),
        )

    def _num_repaired(self, kind: str) -> int:
        found = [fate for fate in self.fates if fate.kind == kind and fate.action == "repaired"]
        return len({fate.file for fate in found}) if kind == "image" else len(found)
