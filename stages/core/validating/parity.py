"""How close a file's raw outputs are to the float model's."""

from collections.abc import Mapping, Sequence

import numpy as np

from stages.core.results.validation import Parity

RawOutputs = Mapping[str, np.ndarray]


def measure_parity(pairs: Sequence[tuple[RawOutputs, RawOutputs]]) -> tuple[Parity, ...]:
    """Parity per output, over all images at once.

    Args:
      pairs: (float model's, file's) raw outputs of each image, arrays of equal shape under equal names.

    Returns:
      One value per output name, in the order of the first pair; empty without pairs.
    """
    if not pairs:
        return ()
    return tuple(
        compare_tensors(
            name,
            np.stack([np.asarray(reference[name], np.float64).reshape(-1) for reference, _ in pairs]),
            np.stack([np.asarray(got[name], np.float64).reshape(-1) for _, got in pairs]),
        )
        for name in pairs[0][0]
    )


def compare_tensors(name: str, reference: np.ndarray, got: np.ndarray) -> Parity:
    """Compares two tensors whose first dimension counts images.

    Returns:
      `sqnr_db` is None where the tensors are identical (noise 0) or one holds NaN or infinity; `max_abs` is 0 in the
      first case and None in the second. `cosine` is None where one of them is all zero.

    Raises:
      ValueError: if the shapes differ.
    """
    if reference.shape != got.shape:
        raise ValueError(f"{name}: shape {got.shape}, the float model's is {reference.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(got).all()):
        return Parity(output=name, sqnr_db=None, cosine=None, max_abs=None, num_images=len(got))
    noise = float(np.sum((reference - got) ** 2))
    signal, power = float(np.sum(reference**2)), float(np.sum(got**2))
    scale = np.sqrt(signal * power)
    return Parity(
        output=name,
        sqnr_db=float(10 * np.log10(signal / noise)) if noise > 0 and signal > 0 else None,
        cosine=float(np.sum(reference * got) / scale) if scale > 0 else None,
        max_abs=float(np.max(np.abs(reference - got))),
        num_images=len(got),
    )
