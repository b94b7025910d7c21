"""A bisection as a table on the terminal."""

from rich.console import Console
from rich.table import Table

from stages.core.bisecting.bisect import Bisection, has_parted
from stages.core.results.validation import Parity


def print_bisection(found: Bisection, console: Console) -> None:
    """One line per tensor, in execution order; those below the bound are marked."""
    table = Table("", "tensor", "SQNR dB", "cosine", "largest error")
    for row, is_layer in zip(found.rows, found.layers, strict=True):
        mark = "parted" if has_parted(row, found.min_sqnr_db) else ""
        table.add_row(mark, f"{row.output}{'' if is_layer else ' (by name)'}", *_numbers(row))
    console.print(table)


def summarize_bisection(found: Bisection, row: str) -> str:
    """Which tensor is the first to part, or that none does."""
    matched = sum(found.layers)
    counted = f"{matched} of {found.num_layers} layers and {len(found.rows) - matched} other tensors compared"
    bound = f"an SQNR below {found.min_sqnr_db:g} dB"
    head = f"{row} beside {found.reference}: {counted}"
    first, behind = (found.first(chosen=chosen) for chosen in (False, True))
    if first is not None:
        return f"{head}; the first with {bound}: {_describe(first)}"
    if behind is None:
        return f"{head}; none has {bound}"
    return (
        f"{head}; none has {bound} before rows are chosen (top-k, suppression); behind that, where rows compare only "
        f"while both sides choose the same in the same order, the first is {_describe(behind)}"
    )


def _describe(row: Parity) -> str:
    if row.max_abs is None:
        return f"{row.output} (not finite)"
    return f"{row.output} (SQNR {_numbers(row)[0]} dB, largest error {row.max_abs:.3g})"


def _numbers(row: Parity) -> tuple[str, str, str]:
    if row.max_abs is None:
        return "not finite", "", ""
    sqnr = "equal" if row.max_abs == 0 else "-" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
    return sqnr, "-" if row.cosine is None else f"{row.cosine:.5f}", f"{row.max_abs:.3g}"
