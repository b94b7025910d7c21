"""Cross-validation: a training for each fold, as a series of DVC experiments, and their spread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from stages.core.base.errors import ParamsError
from stages.core.launching.experiment_series import run_series
from stages.core.launching.run import read_example
from stages.core.results.table import Metrics


@dataclass(frozen=True, kw_only=True)
class Spread:
    """AP of one file over the folds, in points 0..100.

    Attributes:
      values: By fold; None where a fold has no such number, as in a fold whose model failed.
    """

    values: tuple[float | None, ...]

    @property
    def known(self) -> tuple[float, ...]:
        return tuple(value for value in self.values if value is not None)

    @property
    def mean(self) -> float | None:
        return mean(self.known) if self.known else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the folds (n - 1); None for fewer than two."""
        return stdev(self.known) if len(self.known) > 1 else None


@dataclass(frozen=True, kw_only=True)
class FoldRow:
    """One model in one scheme, over all folds.

    Attributes:
      box, mask: AP. box_lost, mask_lost: what the file loses against the weights as `train` evaluated them.
    """

    model: str
    scheme: str
    box: Spread
    mask: Spread
    box_lost: Spread
    mask_lost: Spread


def cross_validate(project: Path, params: Path, folder: Path, say: Callable[[str], None]) -> int:
    """Runs every fold that is not done yet, and then says mean and spread of box and mask AP.

    Args:
      params: Parameter file with `prepare.split.folds`; what it does not name has the default of stages/core/params.
      folder: Made, or gone on with: finished folds of the same code and parameters are not trained again, and a
        training that was stopped resumes.
      say: Takes what is to be printed.

    Returns:
      0, or the status of the first fold that failed.

    Raises:
      ParamsError: if the parameters are not valid, or name no folds.
      DataError: if git or DVC fails.
    """
    tree = read_example(params)
    split = tree["prepare"]["split"]
    if split["folds"] is None:
        raise ParamsError(f"{params}: prepare.split.folds is null; set the number of folds, e.g. 5")
    split["fold"] = 0
    folds = {f"fold-{fold}": [f"prepare.split.fold={fold}"] for fold in range(split["folds"])}
    series = run_series(project, folder, tree, folds, say)
    if series.status == 0:
        say(folds_to_text(collect_folds(list(series.metrics.values()))))
    return series.status


def collect_folds(folds: Sequence[Metrics]) -> list[FoldRow]:
    """Rows of the results tables, fold beside fold, in the order of the first."""
    found = [{(row.model, row.scheme): row for row in fold.rows} for fold in folds]

    def spread(key: tuple[str, str], name: str) -> Spread:
        return Spread(values=tuple(getattr(fold.get(key), name, None) for fold in found))

    return [
        FoldRow(
            model=key[0],
            scheme=key[1],
            box=spread(key, "box_ap"),
            mask=spread(key, "mask_ap"),
            box_lost=spread(key, "box_trained_drop"),
            mask_lost=spread(key, "mask_trained_drop"),
        )
        for key in dict.fromkeys(key for fold in found for key in fold)
    ]


def folds_to_text(rows: Sequence[FoldRow]) -> str:
    """A Markdown table: mean and standard deviation, each fold's AP, and what is lost of the AP as trained."""
    lines = ["| model | scheme | box AP | by fold | lost | mask AP | by fold | lost |", f"|{'---|' * 8}"]
    for row in rows:
        cells = [row.model, row.scheme]
        for ap, lost in ((row.box, row.box_lost), (row.mask, row.mask_lost)):
            cells += [_describe(ap), _list_folds(ap), _describe(lost)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _describe(spread: Spread) -> str:
    if spread.mean is None:
        return "-"
    return f"{spread.mean:.1f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.1f}")


def _list_folds(spread: Spread) -> str:
    return " ".join("-" if value is None else f"{value:.1f}" for value in spread.values) if spread.known else "-"
