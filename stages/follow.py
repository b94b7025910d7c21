"""Send the curves of trainings in progress to MLflow, until Ctrl-C. `make repro` does so by itself."""

import os
import select
import sys
import time
from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params
from stages.core.tracking.address import resolve_uri
from stages.core.tracking.follow import follow_trainings
from stages.core.tracking.state import EXPERIMENT_VARIABLE

FLAGS = {"until-eof": "end when stdin is closed"}


def main(argv: Sequence[str] | None = None) -> int:
    """Follows every training of the project, however it was started."""
    args = parse_args("follow", argv, about=__doc__, flags=FLAGS)
    params = load_params(args.root).publish
    uri = resolve_uri(params.tracking_uri, args.root, os.environ)
    wait = wait_for_eof if args.until_eof else sleep
    follow_trainings(Layout(args.root), params, uri, os.environ.get(EXPERIMENT_VARIABLE, ""), wait)
    return 0


def wait_for_eof(seconds: float) -> bool:
    """Whether stdin is closed within so many seconds."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def sleep(seconds: float) -> bool:
    """Waits; it is never time to end."""
    time.sleep(seconds)
    return False


if __name__ == "__main__":
    run_stage(main)
