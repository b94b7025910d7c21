"""Publish what `dvc exp run` measured: every DVC experiment becomes a run in MLflow, beside the project's own."""

from collections.abc import Sequence

from stages.core.command_line import make_parser, read_args, run_stage
from stages.core.launching.experiments import publish_experiments


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if all could be published."""
    parser = make_parser("publish_experiments", __doc__)
    parser.add_argument("--all-commits", action="store_true", help="experiments of every commit, not only of this one")
    args = read_args(parser, argv)
    return 1 if publish_experiments(args.root, all_commits=args.all_commits) else 0


if __name__ == "__main__":
    run_stage(main)
