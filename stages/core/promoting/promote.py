"""Moves `champion` to the challenger if everything speaks for it; otherwise says what does not."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.base.errors import ArtifactError, MissingResultError, UserError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.datasets.prepared import read_split
from stages.core.params.tree import Params
from stages.core.predicting.model_folder import open_model
from stages.core.promoting.comparing import run_duel
from stages.core.promoting.deciding import Check, check_duel, check_file, check_gate
from stages.core.reporting.collect import read_metrics
from stages.core.results.conversion import Conversion
from stages.core.results.status import Status
from stages.core.results.table import Row
from stages.core.running.artifact import Artifact, read_artifact
from stages.core.tracking.address import probe_store
from stages.core.tracking.names import CHALLENGER, CHAMPION, registered_name
from stages.core.tracking.publish import prepare_environment

if TYPE_CHECKING:
    from stages.core.tracking.registry import Registry, Version

Say = Callable[[str], None]
WAYS_OUT = "--no-compare promotes without looking at it, --rollback returns to the one before"


def choose_rows(layout: Layout, model: str | None, scheme: str | None) -> tuple[Row, ...]:
    """Rows of the results table that apply, of one model or scheme where one is named.

    Raises:
      MissingResultError: if nothing was measured, or there is no such row.
    """
    rows = read_metrics(layout).rows
    found = tuple(
        row
        for row in rows
        if row.status is not Status.NOT_APPLICABLE and model in (None, row.model) and scheme in (None, row.scheme)
    )
    if not found:
        known = ", ".join(f"{row.model}/{row.scheme}" for row in rows)
        wanted = f"{model or 'any model'}/{scheme or 'any scheme'}"
        raise MissingResultError(f"{wanted}: no such file in the results table, which has {known}; run `dvc repro`")
    return found


def promote_file(layout: Layout, params: Params, uri: str, row: Row, *, dry_run: bool, compare: bool, say: Say) -> bool:
    """Decides on the challenger of one row of the results table.

    Args:
      uri: Tracking store.
      row: Of `choose_rows`.
      dry_run: Only say what would be decided.
      compare: Whether it must be measured beside the champion; without it only gate and file are looked at.
      say: Takes what is to be printed: a line a check, then the decision.

    Returns:
      Whether the challenger is champion now, or would be.

    Raises:
      MissingResultError: if nothing was measured.
      UserError: if the registry cannot be reached or has no challenger, or a file is gone or altered.
    """
    versions = open_registry(uri, params.publish.timeout_s)
    name = registered_name(params.publish.experiment, f"{row.model}-{row.scheme}")
    checks = list(check_gate(read_metrics(layout).rows, row))
    challenger, champion = versions.find(name, CHALLENGER), versions.find(name, CHAMPION)
    if row.sha256 is not None and not row.fails and challenger is None:
        raise UserError(f"{name}: no version is called {CHALLENGER}; run `python -m stages.publish` first")
    if challenger is not None and row.sha256 is not None:
        artifact = _open_converted(layout.converted(row.model, row.scheme))
        checks.append(check_file(row.sha256, artifact.sha256, challenger.sha256))
        if champion is None:
            checks.append(Check("champion: none yet, so the gate's floors decide", True))
        elif champion.number == challenger.number:
            checks.append(Check(f"champion: {champion}, the challenger itself", True))
        elif not compare:
            checks.append(Check(f"champion: {champion}, not compared", True))
        else:
            checks += _compare(layout, params, artifact, versions, champion)
    for check in checks:
        say(str(check))
    if not all(check.holds for check in checks):
        say(f"{name}: not promoted; champion stays {champion or 'none'}")
        return False
    assert challenger is not None  # a row that passes has a file, and then a challenger
    if champion is not None and champion.number == challenger.number:
        say(f"{champion} is champion already")
        return True
    if not dry_run:
        versions.promote(challenger, champion, "\n".join(map(str, checks)))
    say(f"{challenger} {'would be' if dry_run else 'is'} champion{f', was {champion}' if champion else ''}")
    return True


def roll_back(params: Params, uri: str, row: Row, *, dry_run: bool, say: Say) -> None:
    """Makes the champion before the present one champion again.

    Raises:
      UserError: if there is none.
    """
    versions = open_registry(uri, params.publish.timeout_s)
    name = registered_name(params.publish.experiment, f"{row.model}-{row.scheme}")
    if dry_run:
        say(f"{name}: champions so far, latest last: {', '.join(versions.history(name)) or 'none'}")
        return
    earlier, now = versions.roll_back(name)
    say(f"{earlier} is champion again, was {now}")


def open_registry(uri: str, timeout_s: float) -> "Registry":
    """The registry, once something answers at its address.

    Raises:
      UserError: if nothing does.
    """
    if problem := probe_store(uri, timeout_s):
        raise UserError(f"no tracking store to ask: {problem}")
    prepare_environment(timeout_s)
    from stages.core.tracking.registry import Registry

    return Registry(uri)


def _open_converted(folder: Path) -> Artifact:
    return read_artifact(folder, read_json(Conversion, folder / RESULT_FILE))


def _compare(
    layout: Layout, params: Params, artifact: Artifact, versions: "Registry", champion: "Version"
) -> list[Check]:
    split = read_split(layout.split(params.validation.split))
    with tempfile.TemporaryDirectory(prefix="champion-") as scratch:
        try:
            old = open_model(versions.download(champion, Path(scratch)))
        except (UserError, ArtifactError) as error:
            raise UserError(
                f"{error}; --no-compare promotes without looking at it, --rollback returns to the one before"
            ) from None
        if old.sha256 != champion.sha256:
            raise UserError(
                f"{champion}: its file has sha256 {old.sha256[:12]}, registered was {champion.sha256[:12]}: altered; "
                f"{WAYS_OUT}"
            )
        duel = run_duel(old, artifact, split, num_threads=params.validation.num_threads)
        return list(check_duel(duel, old.size_bytes, artifact.size_bytes, params.promote))
