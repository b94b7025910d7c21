"""Promote: make the challenger champion in MLflow's registry, if it passes the gate and is not worse than the champion.

`publish` registers every file that passes as challenger. Both are run on the evaluation split, image by image, and AP
is compared with a paired bootstrap. An application loads `models:/<experiment>-<model>-<scheme>@champion`.
Without --model and --scheme, every file of the results table is decided on.
"""

import os
from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import EXIT_GATE_RED, known_name, make_parser, read_args, run_stage
from stages.core.params.tree import load_params
from stages.core.promoting.promote import choose_rows, promote_file, roll_back
from stages.core.tables.schemes import SCHEMES
from stages.core.tracking.address import resolve_uri


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 where every challenger is champion, 3 where something speaks against one."""
    parser = make_parser("promote", __doc__)
    parser.add_argument("--model", help="only this model's files")
    parser.add_argument("--scheme", type=known_name("scheme", SCHEMES), help="only this scheme's files")
    parser.add_argument("--dry-run", action="store_true", help="say what would be decided, change nothing")
    parser.add_argument("--no-compare", action="store_true", help="gate and file decide, the champion is not run")
    parser.add_argument("--rollback", action="store_true", help="make the previous champion champion again")
    args = read_args(parser, argv)
    params, layout = load_params(args.root), Layout(args.root)
    uri = resolve_uri(params.publish.tracking_uri, args.root, os.environ)
    rows = choose_rows(layout, args.model, args.scheme)
    shared = {"dry_run": args.dry_run, "say": print}
    if args.rollback:
        for row in rows:
            roll_back(params, uri, row, **shared)
        return 0
    done = [promote_file(layout, params, uri, row, compare=not args.no_compare, **shared) for row in rows]
    return 0 if all(done) else EXIT_GATE_RED


if __name__ == "__main__":
    run_stage(main)
