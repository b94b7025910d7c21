"""Mirror the results into MLflow: one run per state of dvc.lock, one child run per model and scheme."""

import os
import sys
from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params
from stages.core.tracking.address import hide_password, resolve_uri, runs_page
from stages.core.tracking.moved import settle_moved
from stages.core.tracking.outcome import TrackingUnavailableError
from stages.core.tracking.plan import plan_publication
from stages.core.tracking.publish import publish_in_time
from stages.core.tracking.state import read_state

FLAGS = {"uri": "only print the address of the tracking store", "page": "only print that of the runs in its UI"}


def main(argv: Sequence[str] | None = None) -> int:
    """Publishes what is not there yet. A store that cannot be reached costs a warning and some seconds, never more."""
    args = parse_args("publish", argv, about=__doc__, flags=FLAGS)
    params, layout = load_params(args.root), Layout(args.root)
    uri = resolve_uri(params.publish.tracking_uri, args.root, os.environ)
    if moved := settle_moved(uri):
        print(moved, file=sys.stderr)
    if args.uri or args.page:
        print(uri if args.uri else runs_page(uri, params.publish.experiment))
        return 0
    state = read_state(args.root, dvc_lock=layout.dvc_lock, metrics=layout.metrics)
    publication = plan_publication(layout, state, params, uri)
    if state.dvc_lock_sha256 is None:
        print("no dvc.lock: this publication is known by the hash of metrics.json", file=sys.stderr)
    try:
        outcome = publish_in_time(publication, uri, params.publish.timeout_s)
    except TrackingUnavailableError as error:
        again = "run `python -m stages.publish` later"
        print(f"warning: not published to {hide_password(uri)}: {error}; {again}", file=sys.stderr)
        return 0
    print(f"published to {hide_password(uri)}: {outcome}")
    return 0


if __name__ == "__main__":
    run_stage(main)
