"""What every verb's command line shares: arguments, exit statuses, quiet third parties.

Exit status: 0 fine, 1 a bug (traceback), 2 something the user can mend (one line), 3 the gate is red.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from stages.core.detectors.table import DETECTORS
from stages.core.errors import UsageError, UserError
from stages.core.params.names import check_name
from stages.core.schemes import SCHEMES

EXIT_USER_ERROR = 2
EXIT_GATE_RED = 3


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, like every other mistake of the user."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (--help shows what is allowed)")


def known_name(kind: str, table: Collection[str]) -> Callable[[str], str]:
    """An argparse type that takes a name of `table` and says which names there are."""

    def parse(text: str) -> str:
        try:
            check_name(text, kind, table)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return parse


def parse_args(
    verb: str,
    argv: Sequence[str] | None,
    *,
    about: str | None = None,
    model: bool = False,
    scheme: bool = False,
    variants: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
) -> argparse.Namespace:
    """Arguments of one verb: `--root`, and `--model` and `--scheme` where the verb works on one cell of the matrix.

    Args:
      variants: What `--variant` may be, the first by default; without any there is no such argument.
      flags: Switches that only this verb has, by name, with their help.

    Raises:
      UsageError: if they are wrong.
    """
    parser = Parser(prog=f"python -m stages.{verb}", description=about)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="project folder (default: the current one)")
    if model:
        parser.add_argument("--model", required=True, type=known_name("model", DETECTORS), help=", ".join(DETECTORS))
    if scheme:
        parser.add_argument("--scheme", required=True, type=known_name("scheme", SCHEMES), help=", ".join(SCHEMES))
    if variants:
        known = known_name("variant", variants)
        parser.add_argument("--variant", default=variants[0], type=known, help=", ".join(variants))
    for name, text in (flags or {}).items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    args = parser.parse_args(argv)
    args.root = args.root.resolve()
    if not args.root.is_dir():
        raise UsageError(f"{parser.prog}: --root: no such folder: {args.root}")
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
