"""Write a pipeline.config of the TF Object Detection API for a model of the table, or edit one that is there.

The classes are those that `prepare` found. Without --out the config is printed. With --like, comments and all that the
parameters say nothing of stay byte for byte.
"""

from collections.abc import Sequence
from pathlib import Path

from stages.core.command_line import known_name, make_parser, read_args, run_stage
from stages.core.tables.detectors import DETECTORS
from stages.core.tfod.export_config import describe_export, export_config
from stages.core.tfod.files import check_writable, read_text, write_text


def main(argv: Sequence[str] | None = None) -> int:
    """Writes nothing but the file that `--out` names."""
    parser = make_parser("export_config", __doc__)
    parser.add_argument("model", type=known_name("model", DETECTORS), help="row of the detector table")
    parser.add_argument("--out", type=Path, help="file to write, such as pipeline.config")
    parser.add_argument("--like", type=Path, help="pipeline.config to start from, of the same model")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is already there")
    args = read_args(parser, argv)
    if args.out:
        check_writable(args.out, force=args.force)
    like = (str(args.like), read_text(args.like)) if args.like else None
    exported = export_config(args.root, args.model, like=like)
    if args.out is None:
        print(exported.text, end="")
    else:
        write_text(exported.text, args.out)
        print("\n".join(describe_export(exported)))
        print(f"\nwritten: {args.out}")
    return 0


if __name__ == "__main__":
    run_stage(main)
