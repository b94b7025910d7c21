"""What every verb's command line shares: arguments, exit statuses, quiet third parties.

Exit status: 0 fine, 1 a bug (traceback), 2 something the user can mend (one line), 3 the gate is red.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.core.detectors.table import DETECTORS
from stages.core.errors import UserError
from stages.core.schemes import SCHEMES

EXIT_USER_ERROR = 2
EXIT_GATE_RED = 3


def parse_args(
    verb: str, argv: Sequence[str] | None, *, about: str | None = None, model: bool = False, scheme: bool = False
) -> argparse.Namespace:
    """Arguments of one verb: `--root`, and `--model` and `--scheme` where the verb works on one cell of the matrix."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{verb}", description=about)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="project folder (default: the current one)")
    if model:
        parser.add_argument("--model", required=True, choices=list(DETECTORS), help="row of the detector table")
    if scheme:
        parser.add_argument("--scheme", required=True, choices=list(SCHEMES), help="row of the scheme table")
    args = parser.parse_args(argv)
    args.root = args.root.resolve()
    return args


def run_verb(main: Callable[[Sequence[str] | None], int]) -> None:
    """Runs a verb's main and exits: a `UserError` becomes one line and status 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        status = main(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
