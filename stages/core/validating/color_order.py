"""A brought model whose entry states the wrong order of colours: seen in its AP, and said."""

from collections.abc import Iterable
from pathlib import Path

from stages.core.datasets.prepared import PreparedImage
from stages.core.processing.stored_outputs import StoredOutputs
from stages.core.results.interface import Interface
from stages.core.validating.class_shift import is_far_better
from stages.core.validating.gathering import decode_reference


def find_color_swap(
    reference: StoredOutputs, interface: Interface, images: Iterable[PreparedImage], annotations: Path
) -> tuple[str, ...]:
    """A warning where box AP is far better with red and blue changed over; nothing for our own models.

    Args:
      reference: The float model's outputs; interface: its contract.
      images: Those that were evaluated; annotations: COCO JSON of their split.
    """
    ids = set(reference.swapped_image_ids.tolist())
    chosen = [image for image in images if image.image_id in ids]
    if not chosen:
        return ()
    stated, swapped = (
        decode_reference(outputs, interface, chosen).results.measure(annotations).box.ap or 0.0
        for outputs in (reference, reference.swapped)
    )
    if not is_far_better(swapped, stated):
        return ()
    return (
        f"box AP on {len(chosen)} images would be {swapped:.1f} instead of {stated:.1f} if red and blue were changed "
        "over: check `color_order` (RGB or BGR)",
    )
