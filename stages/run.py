"""Run the whole pipeline: `dvc repro`, then MLflow, then the results table.

Without a parameter file it runs on the project itself (`make repro`). With one, as in `python -m stages.run
examples/bccd.yaml`, it runs the same DAG in `runs/bccd/`, beside the project's results. Run it again to go on where it
stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.core.command_line import make_parser, read_args, run_stage
from stages.core.launching.run import run_example, run_project


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the first status that is not 0: of `dvc repro`, else of publishing."""
    parser = make_parser("run", __doc__)
    parser.add_argument("params", type=Path, nargs="?", help="parameter file (default: run on the project itself)")
    parser.add_argument("--folder", type=Path, help="where to run it (default: runs/<name of the file>)")
    args = read_args(parser, argv)
    if args.params is None:
        return run_project(args.root)
    return run_example(args.root, args.params, (args.folder or args.root / "runs" / args.params.stem).resolve())


if __name__ == "__main__":
    run_stage(main)
