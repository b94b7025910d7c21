"""One line for the terminal on how accurate a file is."""

from stages.core.results.status import Status
from stages.core.results.validation import Validation


def summarize_validation(validation: Validation) -> str:
    """E.g. `retinanet_mobiledet_cpu int8: box AP 65.2 (float 65.2, drop 0.0) on 200 images of val`."""
    cell = f"{validation.model} {validation.scheme}"
    if validation.status is not Status.OK or validation.accuracy is None or validation.reference is None:
        return f"{cell}: {validation.status}: {validation.reason}"
    parts = [_compare("box", validation.accuracy.box.ap, validation.reference.box.ap, validation.box_ap_drop)]
    if validation.accuracy.mask is not None and validation.reference.mask is not None:
        parts += [_compare("mask", validation.accuracy.mask.ap, validation.reference.mask.ap, validation.mask_ap_drop)]
    protocol = validation.protocol
    where = f" on {protocol.num_images} images of {protocol.split}" if protocol else ""
    warnings = "".join(f"; warning: {note}" for note in validation.notes)
    return f"{cell}: {', '.join(parts)}{where}{warnings}"


def _compare(kind: str, got: float | None, reference: float | None, drop: float | None) -> str:
    return f"{kind} AP {_points(got)} (float {_points(reference)}, drop {_points(drop)})"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
