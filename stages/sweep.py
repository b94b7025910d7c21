"""Sweep one parameter: train and measure once for each value, publish to MLflow, and end in a table and a plot.

`python -m stages.sweep input_size --values 320 256` runs the DAG up to `report` in runs/sweep-input_size/, as one DVC
experiment a value (`dvc exp show` there). Run it again to go on where it stopped, or with more values.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.core.base.layout import PARAMS_FILE
from stages.core.command_line import make_parser, read_args, run_stage
from stages.core.launching.sweep import SWEEPS, run_sweep


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or the status of the first value that failed."""
    known = "; ".join(f"{name}: {sweep.about} (default {' '.join(sweep.values)})" for name, sweep in SWEEPS.items())
    parser = make_parser("sweep", __doc__)
    parser.add_argument("sweep", choices=list(SWEEPS), help=known)
    parser.add_argument("--values", nargs="+", default=[], help="what is tried")
    parser.add_argument("--params", type=Path, help="parameter file that all start from (default: params.yaml)")
    parser.add_argument("--folder", type=Path, help="where to run it (default: runs/sweep-<name>)")
    args = read_args(parser, argv)
    folder = (args.folder or args.root / "runs" / f"sweep-{args.sweep}").resolve()
    params = args.params or args.root / PARAMS_FILE
    return run_sweep(args.root, args.sweep, args.values, params, folder, say=lambda line: print(line, flush=True))


if __name__ == "__main__":
    run_stage(main)
