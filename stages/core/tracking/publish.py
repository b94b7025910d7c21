"""Publishing with a bounded cost: the work runs in a process of its own, which is ended when the store falls silent.

MLflow alone blocks for minutes on a server that does not answer, and a thread stuck in a socket cannot be ended.
"""

import logging
import os
import signal
from multiprocessing.connection import Connection

from stages.core.base.processes import ChildProcess, ProcessTimeoutError
from stages.core.tracking.address import hide_password, is_local, probe_store
from stages.core.tracking.outcome import Outcome, TrackingUnavailableError
from stages.core.tracking.run_plan import Publication

SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Nothing is sent to third parties, nothing that is loaded is unpickled, and MLflow prints no addresses."""

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
      UserError: for what the user can fix in the store.
    """
    if problem := probe_store(uri, timeout_s * PROBE_SHARE):
        raise TrackingUnavailableError(problem)
    silence_s = None if is_local(uri) else timeout_s * SILENCE_SHARE
    with ChildProcess(_publish, publication, uri, timeout_s) as process:
        return _wait(process, silence_s)


def _wait(process: ChildProcess, silence_s: float | None) -> Outcome:
    """Listens to the process until it is done, fails, or the store is silent for too long."""
    limit: float | None = None
    while True:
        try:
            answer = process.receive(timeout_s=limit, doing="publishing")
        except ProcessTimeoutError:
            raise TrackingUnavailableError(f"no answer for {limit:.0f} s") from None
        if isinstance(answer, Outcome):
            return answer
        limit = None if silence_s is None else silence_s + answer / SLOWEST_UPLOAD


def _publish(connection: Connection, publication: Publication, uri: str, timeout_s: float) -> None:
    """What the process does: import MLflow, publish, and say after each answer how many bytes are sent next."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_environment(timeout_s)
    from stages.core.tracking.store import publish_runs

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    connection.send(0)
    try:
        connection.send(publish_runs(publication, uri, progress=connection.send))
    except TrackingUnavailableError as error:
        raise TrackingUnavailableError(str(error).replace(uri, hide_password(uri))) from None
