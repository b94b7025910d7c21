"""Cross-validation: a training for each fold, as DVC experiments in a git repository of their own, and their spread.

`dvc exp run` needs git, and leaves parameters and results of its last experiment in the workspace. In a folder with a
repository of its own the project's workspace, parameters and experiments stay as they are.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from stages.core.base.errors import ParamsError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.launching.experiments import capture, list_experiments
from stages.core.launching.repository import commit_start, start_repository
from stages.core.launching.run import make_folder, project_environment, read_example, run
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
    environment = project_environment(project)
    tree = read_example(params)
    split = tree["prepare"]["split"]
    if split["folds"] is None:
        raise ParamsError(f"{params}: prepare.split.folds is null; set the number of folds, e.g. 5")
    split["fold"] = 0
    start_repository(project, folder)
    make_folder(project, folder, tree)
    commit_start(folder)
    names = [f"fold-{fold}" for fold in range(split["folds"])]
    done = list_experiments(folder, all_commits=False)
    for fold, name in enumerate(names):
        if name in done:
            say(f"{name}: done before")
            continue
        say(f"{name} of {len(names)}")
        command = ["dvc", "exp", "run", "--name", name, "-S", f"prepare.split.fold={fold}", "report"]
        if status := run(command, folder, environment):
            return status
    if not done.keys() >= set(names):
        done = list_experiments(folder, all_commits=False)
    rows = collect_folds([fetch_metrics(folder, done[name]) for name in names])
    say(folds_to_text(rows))
    return 0


def fetch_metrics(folder: Path, commit: str) -> Metrics:
    """The results table of an experiment, out of the DVC cache."""
    with tempfile.TemporaryDirectory(prefix="fold-") as scratch:
        copy = Path(scratch, "metrics")
        source = os.path.relpath(Layout(folder).metrics, folder)
        capture(["dvc", "get", "--quiet", "--rev", commit, "--out", str(copy), ".", source], folder)
        return read_json(Metrics, copy)


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
