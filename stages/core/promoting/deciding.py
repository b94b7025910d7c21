"""What speaks for a challenger and what against it: one check a line, each with its numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.core.params.steps import PromoteParams
from stages.core.promoting.comparing import Duel, Loss
from stages.core.results.table import Row


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Attributes:
      text: What was looked at, with its numbers.
      holds: Whether it speaks for the challenger.
    """

    text: str
    holds: bool

    def __str__(self) -> str:
        return f"{'ok ' if self.holds else 'NO '} {self.text}"


def check_gate(rows: Sequence[Row], row: Row) -> Iterator[Check]:
    """The whole gate is green, and this row has a file that passes."""
    red = [f"{other.model}/{other.scheme}" for other in rows if other.fails]
    yield Check(f"gate: {', '.join(red)} fail" if red else f"gate: green, {len(rows)} rows", not red)
    yield Check(f"row: {row.status.value}, verdict {row.verdict.value}", row.sha256 is not None and not row.fails)


def check_file(measured: str, here: str, registered: str) -> Check:
    """The file on disk and the registered one are the one that was measured. All are sha256."""
    same = measured == here == registered
    found = "" if same else f", on disk {here[:12]}, registered {registered[:12] or 'unknown'}"
    return Check(f"file: measured sha256 {measured[:12]}{found}", same)


def check_duel(duel: Duel, champion_bytes: int, challenger_bytes: int, bounds: PromoteParams) -> Iterator[Check]:
    """The challenger is not worse beyond noise, loses little, and costs little more."""
    for loss in duel.losses:
        yield check_loss(loss, duel.num_images, bounds.max_ap_loss)
    ratio = duel.challenger_ms / duel.champion_ms
    yield Check(
        f"latency: {duel.challenger_ms:.1f} ms an image, champion {duel.champion_ms:.1f}, timed in turns: "
        f"{ratio:.2f} times (promote.max_latency_ratio {bounds.max_latency_ratio:g})",
        ratio <= bounds.max_latency_ratio,
    )
    ratio = challenger_bytes / champion_bytes
    yield Check(
        f"size: {challenger_bytes / 1e6:.2f} MB, champion {champion_bytes / 1e6:.2f}: {ratio:.2f} times "
        f"(promote.max_size_ratio {bounds.max_size_ratio:g})",
        ratio <= bounds.max_size_ratio,
    )


def check_loss(loss: Loss, num_images: int, most: float) -> Check:
    """A loss that other images would confirm is too much however small; else it may be at most `most` points."""
    if loss.points is None or loss.champion is None or loss.challenger is None:
        return Check(f"{loss.kind} AP: not measurable on {num_images} images", False)
    said = f"{loss.kind} AP: {loss.challenger:.2f}, champion {loss.champion:.2f} on the same {num_images} images"
    worse = loss.interval is not None and loss.interval.low > 0
    if loss.interval is not None:
        gain, low, high = (0.0 - value for value in (loss.points, loss.interval.high, loss.interval.low))
        said += f"; gain {gain:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}"
    if worse:
        said += ": worse beyond noise"
    return Check(f"{said} (promote.max_ap_loss {most:g})", not worse and loss.points <= most)
