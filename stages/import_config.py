"""Turn a pipeline.config of the TF Object Detection API into parameters, and list every field of it.

Without --out the parameters are printed, with the list in comments. With it they are written, and the list is printed.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.core.command_line import make_parser, read_args, run_stage
from stages.core.tfod.files import check_writable, write_text
from stages.core.tfod.import_config import describe, import_config, render_params


def main(argv: Sequence[str] | None = None) -> int:
    """Writes nothing but the file that `--out` names."""
    parser = make_parser("import_config", __doc__)
    parser.add_argument("config", type=Path, help="the pipeline.config")
    parser.add_argument("--out", type=Path, help="parameter file to write, such as params.yaml or examples/mine.yaml")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is already there")
    parser.add_argument(
        "--ignore-unknown", action="store_true", help="list fields that the API does not have, instead of refusing them"
    )
    args = read_args(parser, argv)
    if args.out:
        check_writable(args.out, force=args.force)
    imported = import_config(args.config, folders=(Path.cwd(), args.root), ignore_unknown=args.ignore_unknown)
    if args.out is None:
        print(render_params(imported), end="")
    else:
        write_text(render_params(imported), args.out)
        print("\n".join(describe(imported)))
        print(f"\nwritten: {args.out}")
    return 0


if __name__ == "__main__":
    run_stage(main)
