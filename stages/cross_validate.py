"""Cross-validate: train and evaluate once for each fold of `prepare.split.folds`, and print mean and spread of AP.

`python -m stages.cross_validate examples/nuts-cv.yaml` runs the DAG up to `report` in runs/nuts-cv/, as one DVC
experiment a fold. Run it again to go on where it stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.core.command_line import make_parser, read_args, run_stage
from stages.core.launching.cross_validation import cross_validate


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or the status of the first fold that failed."""
    parser = make_parser("cross_validate", __doc__)
    parser.add_argument("params", type=Path, help="parameter file that sets prepare.split.folds")
    parser.add_argument("--folder", type=Path, help="where to run it (default: runs/<name of the file>)")
    args = read_args(parser, argv)
    folder = (args.folder or args.root / "runs" / args.params.stem).resolve()
    return cross_validate(args.root, args.params, folder, say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    run_stage(main)
