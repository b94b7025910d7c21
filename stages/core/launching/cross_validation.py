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
    """One model in one scheme, over all folds."""

    model: str
    scheme: str
    box: Spread
    mask: Spread


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
    numbers = [{(row.model, row.scheme): (row.box_ap, row.mask_ap) for row in fold.rows} for fold in folds]
    keys = dict.fromkeys(key for fold in numbers for key in fold)
    return [
        FoldRow(
            model=model,
            scheme=scheme,
            box=Spread(values=tuple(fold.get((model, scheme), (None, None))[0] for fold in numbers)),
            mask=Spread(values=tuple(fold.get((model, scheme), (None, None))[1] for fold in numbers)),
        )
        for model, scheme in keys
    ]


def folds_to_text(rows: Sequence[FoldRow]) -> str:
    """A Markdown table: mean and standard deviation, then each fold's AP."""
    lines = ["| model | scheme | box AP | by fold | mask AP | by fold |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [row.model, row.scheme, *_describe(row.box), *_describe(row.mask)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _describe(spread: Spread) -> tuple[str, str]:
    if spread.mean is None:
        return "-", "-"
    deviation = "" if spread.deviation is None else f" ± {spread.deviation:.1f}"
    return f"{spread.mean:.1f}{deviation}", " ".join("-" if v is None else f"{v:.1f}" for v in spread.values)
