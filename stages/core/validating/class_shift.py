"""A brought model's classes counted from the wrong number: seen in its AP, and said."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from stages.core.datasets.prepared import PreparedImage
from stages.core.processing.stored_outputs import StoredOutputs
from stages.core.results.interface import Interface
from stages.core.validating.gathering import decode_reference

FAR_BETTER = 5.0
"""Points of AP, and twice the stated one: less may be chance."""
SHIFTS = {
    1: "one higher than stated",
    -1: "one lower than stated",
}
"""What is added to a class before it is looked up, and what that says."""


def is_far_better(ap: float, stated: float) -> bool:
    """Whether one AP is so much better than another that what was stated must be wrong; both in points."""
    return ap > 2 * stated and ap > stated + FAR_BETTER


def find_class_shift(
    reference: StoredOutputs,
    interface: Interface,
    images: Iterable[PreparedImage],
    annotations: Path,
    *,
    box_ap: float | None,
) -> tuple[str, ...]:
    """A warning where box AP is far better with the classes counted one higher or lower.

    Args:
      reference: The float model's outputs; interface: its contract.
      images: Those that were evaluated; annotations: COCO JSON of their split.
      box_ap: With the classes as stated, in points.
    """
    images, stated = tuple(images), box_ap or 0.0
    first = interface.class_offset
    table = interface.class_map or tuple(range(first, first + len(interface.labels) + (first == 0)))
    for shift, meaning in SHIFTS.items():
        moved = (*table[1:], 0) if shift > 0 else (0, *table[:-1])
        shifted = replace(interface, class_map=moved)
        if not any(moved):
            continue
        ap = decode_reference(reference, shifted, images).results.measure(annotations).box.ap or 0.0
        if is_far_better(ap, stated):
            return (
                f"box AP would be {ap:.1f} instead of {stated:.1f} if its classes were {meaning}: check `first_class`, "
                "`background` and the order of `labels`",
            )
    return ()
