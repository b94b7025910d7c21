"""Publishing with a bounded cost: the work runs in a process of its own, which is ended when the store falls silent.

MLflow alone blocks for minutes on a server that does not answer, and a thread stuck in a socket cannot be ended.
"""

import logging
import multiprocessing
import os
import signal
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from stages.core.errors import UserError
from stages.core.tracking.address import hide_password, is_local, probe_store
from stages.core.tracking.outcome import Outcome, TrackingUnavailableError
from stages.core.tracking.plan import Publication

SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
"""Nothing is sent to third parties, and nothing that is loaded is unpickled."""

PROBE_SHARE, SILENCE_SHARE = 0.25, 0.5
"""Shares of the time a dead server may cost: for one question, and for falling silent in the middle. The rest is
MLflow's import."""

SLOWEST_UPLOAD = 250_000
"""Bytes a second: a store that takes files more slowly than this counts as silent."""


def prepare_environment(timeout_s: float) -> None:
    """Sets what MLflow reads from the environment, before it is imported; limits that the user has set stay."""
    os.environ.update(SWITCHES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, int(timeout_s * PROBE_SHARE))))


def publish_in_time(publication: Publication, uri: str, timeout_s: float) -> Outcome:
    """Publishes, and gives up on a store that is dead or dies.

    A server that refuses or does not answer the first question costs at most a quarter of `timeout_s`; one that falls
    silent later costs half of it. A slow store that keeps answering is waited for, and so is a file of this machine.

    Args:
      uri: Tracking store, absolute.
      timeout_s: What a dead server may cost in all.

    Raises:
      TrackingUnavailableError: with one line on what happened.
      UserError: for what the user can mend in the store.
    """
    if problem := probe_store(uri, timeout_s * PROBE_SHARE):
        raise TrackingUnavailableError(problem)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, publication, uri, timeout_s), daemon=True)
    process.start()
    theirs.close()
    try:
        return _wait(ours, None if is_local(uri) else timeout_s * SILENCE_SHARE)
    finally:
        process.kill()
        process.join()


def _wait(messages: Connection, silence_s: float | None) -> Outcome:
    """Listens to the worker until it is done, fails, or the store is silent for too long."""
    limit: float | None = None
    while True:
        heard = time.monotonic()
        if not messages.poll(limit):
            raise TrackingUnavailableError(f"no answer for {time.monotonic() - heard:.0f} s")
        try:
            kind, value = messages.recv()
        except EOFError:
            raise RuntimeError("the publishing process ended without a word") from None
        limit = None if silence_s is None else silence_s + (value / SLOWEST_UPLOAD if kind == "step" else 0)
        if kind == "done":
            outcome: Outcome = value
            return outcome
        if kind in _ERRORS:
            raise _ERRORS[kind](value)


_ERRORS: dict[str, type[Exception]] = {
    "unavailable": TrackingUnavailableError,
    "user": UserError,
    "bug": RuntimeError,
}


def _work(messages: Connection, publication: Publication, uri: str, timeout_s: float) -> None:
    """What the process does: import MLflow, publish, and say how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_environment(timeout_s)

    def say(kind: str, value: Any = None) -> None:
        messages.send((kind, value))

    try:
        from stages.core.tracking.store import publish_runs

        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        say("ready")
        say("done", publish_runs(publication, uri, progress=lambda upload: say("step", upload)))
    except TrackingUnavailableError as error:
        say("unavailable", str(error).replace(uri, hide_password(uri)))
    except UserError as error:
        say("user", str(error))
    except Exception:
        say("bug", traceback.format_exc())
