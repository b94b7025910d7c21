"""Look into a model file of any format: inputs, outputs, ops, weights, and what stands in the way of each target."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stages.core.base.jsonfile import to_text
from stages.core.command_line import make_parser, read_args, run_stage
from stages.core.inspecting.draft import draft_params
from stages.core.inspecting.inspect import inspect_model
from stages.core.inspecting.showing import inspection_to_html, print_inspection
from stages.core.inspecting.viewer import open_in_netron


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what a model holds; nothing in it is run unless it is trusted."""
    parser = make_parser("inspect", __doc__)
    parser.add_argument("path", metavar="MODEL", type=Path, help="SavedModel, frozen .pb, .tflite, .xml, .keras or .h5")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    parser.add_argument("--html", type=Path, metavar="FILE", help="as one page")
    parser.add_argument("--draft-params", action="store_true", help="the entry below `brought` in params.yaml")
    parser.add_argument("--netron", action="store_true", help="open it in Netron, if that is installed")
    parser.add_argument("--trust", action="store_true", help="run code in it: Lambda layers, pickles")
    args = read_args(parser, argv)
    found = inspect_model(args.path, trust=args.trust)
    if args.netron:
        open_in_netron(args.path)
        return 0
    if args.html:
        args.html.write_text(inspection_to_html(found))
    if args.draft_params:
        sys.stdout.write(draft_params(found))
    elif args.json:
        sys.stdout.write(to_text(found))
    elif not args.html:
        print_inspection(found, Console())
    return 0


if __name__ == "__main__":
    run_stage(main)
