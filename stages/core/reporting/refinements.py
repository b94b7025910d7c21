"""What pruning and quantization-aware training were good for: each file beside the one made without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.core.reporting.collect import Cell
from stages.core.reporting.tables import format_number
from stages.core.results.benchmark import Benchmark
from stages.core.results.conversion import LayerSparsity
from stages.core.results.status import Status
from stages.core.tables.schemes import SCHEMES, plain_counterpart

NOISE_POINTS = 0.3
"""AP differences below this say nothing on a few hundred images."""


@dataclass(frozen=True, kw_only=True)
class SparsityCard:
    """One pruned file.

    Attributes:
      cell, plain: The file, and the one of the same types from unpruned weights (None where it is not in use).
      layers: Zeros by layer, read from the file.
      overall: Share of zeros among all weights of the layers, 0..1.
      remarks: Sentences.
    """

    cell: Cell
    plain: Cell | None
    layers: tuple[LayerSparsity, ...]
    overall: float
    remarks: tuple[str, ...]


def sparsity_cards(cells: Sequence[Cell]) -> tuple[SparsityCard, ...]:
    """One card per pruned file that was made."""
    known = {(cell.model, cell.scheme): cell for cell in cells}
    cards = []
    for cell in cells:
        if cell.proof is None or not cell.proof.sparsity:
            continue
        layers, plain = cell.proof.sparsity, _plain_cell(cell, known)
        total = sum(layer.num_weights for layer in layers)
        zeros = sum(layer.sparsity * layer.num_weights for layer in layers)
        cards.append(
            SparsityCard(
                cell=cell,
                plain=plain,
                layers=layers,
                overall=zeros / total if total else 0.0,
                remarks=() if plain is None else _compare_cost(cell, plain),
            )
        )
    return tuple(cards)


def qat_notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """One sentence per file from quantization-aware training: what it gained on the one without, or that it need not
    have been."""
    known = {(cell.model, cell.scheme): cell for cell in cells}
    notes = []
    for cell in cells:
        plain = _plain_cell(cell, known)
        if plain is None or not SCHEMES[cell.scheme].is_quantization_aware or SCHEMES[cell.scheme].is_pruned:
            continue
        losses = largest_drop(plain), largest_drop(cell)
        if losses[0] is None or losses[1] is None:
            continue
        lost = f"{plain.name} loses {format_number(losses[0], 2)} points, {cell.name} {format_number(losses[1], 2)}"
        if losses[0] <= NOISE_POINTS:
            notes.append(f"{lost}: quantization-aware training was not needed, {NOISE_POINTS} points are noise")
        elif losses[0] - losses[1] > NOISE_POINTS:
            notes.append(f"{lost}: quantization-aware training pays")
        else:
            notes.append(
                f"{lost}: quantization-aware training makes no difference beyond noise ({NOISE_POINTS} points)"
            )
    return tuple(notes)


def later_notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """What the Markdown report says of pruning and quantization-aware training."""
    pruned = (
        f"{card.cell.name}: {100 * card.overall:.1f} % of all weights are zero, read from the file; "
        + "; ".join(card.remarks)
        for card in sparsity_cards(cells)
    )
    return (*qat_notes(cells), *pruned)


def largest_drop(cell: Cell) -> float | None:
    """The larger one of box and mask AP drop, in points; None where the file was not evaluated."""
    drops = [cell.validation.box_ap_drop, cell.validation.mask_ap_drop]
    return max((drop for drop in drops if drop is not None), default=None)


def _plain_cell(cell: Cell, known: Mapping[tuple[str, str], Cell]) -> Cell | None:
    plain = plain_counterpart(SCHEMES[cell.scheme])
    found = known.get((cell.model, plain.name)) if plain else None
    return found if found is not None and found.conversion.status is Status.OK else None


def _compare_cost(cell: Cell, plain: Cell) -> tuple[str, ...]:
    remarks = []
    mine, other = cell.benchmark, plain.benchmark
    if mine.gzip_bytes and other.gzip_bytes and mine.size_bytes and other.size_bytes:
        remarks.append(
            f"compressed with gzip {mine.gzip_bytes / 1e6:.2f} MB against {other.gzip_bytes / 1e6:.2f} MB of "
            f"{plain.scheme}; the file itself is {mine.size_bytes / 1e6:.2f} MB against {other.size_bytes / 1e6:.2f} MB"
        )
    if mine.latency and other.latency:
        times = f"p50 {mine.latency.p50_ms:.1f} ms against {other.latency.p50_ms:.1f} ms of {plain.scheme}"
        remarks.append(f"{times}: {compare_latency(mine, other)}")
    return tuple(remarks)


def compare_latency(mine: Benchmark, other: Benchmark) -> str:
    """Whether one file is faster than another, as far as that was measured.

    Latencies of two runs of `benchmark` do not compare: the machine does other things minutes later. Each file was also
    timed in turns with the float model's file, and the ratios to that do. The interval is the widest that the two
    intervals allow.
    """
    if not mine.beside or not other.beside or mine.beside.reference_sha256 != other.beside.reference_sha256:
        return "timed apart, so not compared"
    ratio = mine.beside.ratio / other.beside.ratio
    low, high = mine.beside.low / other.beside.high, mine.beside.high / other.beside.low
    measured = f"{ratio:.2f} of its time, {low:.2f} to {high:.2f}, each timed in turns with the float model"
    if low <= 1 <= high:
        return f"no measurable difference ({measured})"
    return f"{'faster' if high < 1 else 'slower'} ({measured})"
