"""A converted file beside the float graph on the same pixels: every tensor that both have, and the first to part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.base.layout import RESULT_FILE, SAVED_MODEL
from stages.core.base.processes import ProcessFailedError, run_in_child
from stages.core.bisecting.file_side import list_file, run_file
from stages.core.bisecting.matching import match_points, plain_names
from stages.core.bisecting.points import Point
from stages.core.datasets.prepared import load_image
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.brought import read_brought_facts
from stages.core.results.conversion import Conversion
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend, Precision
from stages.core.results.validation import Parity
from stages.core.running.artifact import read_artifact
from stages.core.tables.schemes import Scheme
from stages.core.validating.parity import compare_tensors

TIMEOUT_S = 600.0
MIN_SQNR_DB = {Precision.FLOAT32: 60.0, Precision.FLOAT16: 40.0, Precision.INT8: 10.0, Precision.UINT8: 10.0}
"""Type of the weights to the SQNR below which a tensor counts as parted, unless the caller says another."""
Computed = list[dict[int, np.ndarray]]
"""Tensors by index, for each image."""


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """What was compared.

    Attributes:
      rows: One per pair of tensors, in the float graph's execution order; `layers`: which of them are layers; `chosen`:
        which lie behind a choice of rows, top-k or suppression.
      min_sqnr_db: The bound.
      reference: What computed the float side.
      num_layers: Of the float graph, those without a partner included.
    """

    rows: tuple[Parity, ...]
    layers: tuple[bool, ...]
    chosen: tuple[bool, ...]
    min_sqnr_db: float
    reference: str
    num_layers: int

    def first(self, *, chosen: bool) -> Parity | None:
        """The first row that has parted before any choice, or behind one."""
        rows = zip(self.rows, self.chosen, strict=True)
        return next((row for row, behind in rows if behind == chosen and has_parted(row, self.min_sqnr_db)), None)


def bisect_file(
    conversion: Conversion,
    scheme: Scheme,
    *,
    folder: Path,
    exported: Path,
    images: Sequence[Path],
    min_sqnr_db: float | None = None,
) -> Bisection:
    """Compares all tensors that the file and the float graph have in common.

    Args:
      conversion: result.json of the row, in `folder`.
      scheme: Its row of the table.
      exported: Folder that the file was made of.
      images: What both are run on.
      min_sqnr_db: Bound; None: `MIN_SQNR_DB`.

    Raises:
      ArtifactError: if there is no file, it is another one, takes another size than the float graph, does not run, or
        has nothing in common with it.
      MissingResultError: if nothing was exported.
    """
    if conversion.artifact is None:
        raise ArtifactError(f"{folder / RESULT_FILE}: no file to look into: {conversion.status}: {conversion.reason}")
    artifact, plain = read_artifact(folder, conversion), read_interface(exported)
    if artifact.interface.input.size != plain.input.size:
        raise ArtifactError(f"{folder}: takes {artifact.interface.input.size}, the float graph {plain.input.size}")
    try:
        list_reference, run_reference, told = _open_reference(exported, plain)
        found = run_in_child(list_file, artifact.path, artifact.backend, timeout_s=TIMEOUT_S, doing="reading the file")
        reference = list_reference()
        batch = artifact.interface.input.shape[0]
        pairs = match_points(reference, found, batch=batch)
        if not pairs:
            raise ArtifactError(f"{artifact.path}: none of its {len(found)} tensors is one of the float graph's")
        pixels = [load_image(path) for path in images]
        expected = run_reference([one.index for one, _ in pairs], _tensors(pixels, plain))
        got = run_in_child(
            run_file,
            artifact.path,
            artifact.backend,
            [other.index for _, other in pairs],
            artifact.interface.input.name,
            _tensors(pixels, artifact.interface),
            timeout_s=TIMEOUT_S,
            doing="running the file",
        )
    except (InferenceError, ProcessFailedError) as error:
        raise ArtifactError(f"{artifact.path}: {error}") from None
    rows = tuple(compare_pair(one, other, expected, got) for one, other in pairs)
    bound = MIN_SQNR_DB[scheme.weights] if min_sqnr_db is None else min_sqnr_db
    return Bisection(
        rows=rows,
        layers=tuple(bool(one.marks) for one, _ in pairs),
        chosen=tuple(one.chosen for one, _ in pairs),
        min_sqnr_db=bound,
        reference=told,
        num_layers=sum(bool(point.marks) for point in reference),
    )


def compare_pair(one: Point, other: Point, expected: Computed, got: Computed) -> Parity:
    """Parity of a pair over all images; axes that a runtime has turned are turned back."""
    reference = np.stack([values[one.index] for values in expected]).astype(np.float64)
    values = np.stack([values[other.index] for values in got]).astype(np.float64)
    if values.size != reference.size:
        # The first of the equal images of a batch.
        values = values[:, : values.shape[1] * reference.size // values.size]
    name = plain_names(one.name)[0]
    return compare_tensors(name, reference, turn_back(values, reference))


def turn_back(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`values` with its axes in the order of `reference`: of the orders that give its shape, the nearest one.

    Args:
      values, reference: [images, ...], of equal size.
    """
    if values.ndim != reference.ndim:
        return values.reshape(reference.shape)
    orders = [(0, *order) for order in permutations(range(1, values.ndim))]
    fitting = [values.transpose(order) for order in orders if values.transpose(order).shape == reference.shape]
    if not fitting:
        return values.reshape(reference.shape)
    return min(fitting, key=lambda turned: float(np.sum((np.nan_to_num(turned) - reference) ** 2)))


def has_parted(row: Parity, min_sqnr_db: float) -> bool:
    """Whether a tensor holds what is not a number, or more noise than the bound allows."""
    if row.max_abs is None:
        return True
    if row.sqnr_db is None:
        return row.max_abs > 0
    return row.sqnr_db < min_sqnr_db


def _tensors(pixels: Sequence[np.ndarray], interface: Interface) -> list[np.ndarray]:
    """Input tensors; a batch holds the same image in every row."""
    num = interface.input.shape[0]
    return [np.repeat(preprocess_image(image, interface.input)[0], num, axis=0) for image in pixels]


def _open_reference(
    exported: Path, interface: Interface
) -> tuple[Callable[[], tuple[Point, ...]], Callable[[Sequence[int], Sequence[np.ndarray]], Computed], str]:
    """What lists and what computes the float side's tensors, and what it is."""
    facts, name = read_brought_facts(exported), interface.input.name
    if facts is None or not facts.finished:
        from stages.core.bisecting.tensorflow_side import TensorflowSide

        side = TensorflowSide(exported / SAVED_MODEL, interface.signature)
        return side.list_points, lambda wanted, images: side.run(wanted, name, images), f"TensorFlow, {SAVED_MODEL}"
    path, backend = exported / facts.finished, Backend(facts.kind)

    def list_finished() -> tuple[Point, ...]:
        return run_in_child(list_file, path, backend, timeout_s=TIMEOUT_S, doing="reading the brought file")

    def run_finished(wanted: Sequence[int], images: Sequence[np.ndarray]) -> Computed:
        args = (path, backend, wanted, name, images)
        return run_in_child(run_file, *args, timeout_s=TIMEOUT_S, doing="running the brought file")

    return list_finished, run_finished, f"the brought file, {facts.finished}"
