"""Build the static deployment graph of one variant of a trained or brought model."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.datasets.prepared import read_labels
from stages.core.exporting.brought import export_brought
from stages.core.params.tree import load_params
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import read_not_needed, write_not_needed


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/exported/<model>/<variant>`."""
    args = parse_args("export", argv, about=__doc__, model=True, variants=tuple(Variant))
    params, layout, variant = load_params(args.root), Layout(args.root), Variant(args.variant)
    source, out_dir = layout.variant(args.model, args.variant), layout.exported(args.model, args.variant)
    if model := params.brought.get(args.model):
        labels = read_labels(layout.labels)
        shared = {"root": args.root, "variant": variant, "labels": labels, "out_dir": out_dir}
        for note in export_brought(args.model, model, settings=params.export, **shared):
            print(f"{args.model} {args.variant}: {note}")
        return 0
    if not_needed := read_not_needed(source):
        write_not_needed(out_dir, args.model, variant, reason=not_needed.reason)
        print(f"{args.model} {args.variant}: not exported: {not_needed.reason}")
        return 0
    labels = read_labels(layout.labels)
    # TensorFlow takes seconds to import: not before the arguments are known to be right.
    from stages.core.exporting.export import export_model
    from stages.core.exporting.graph import PostProcessingSettings

    settings = PostProcessingSettings(**params.export.model_dump())
    export_model(source, labels=labels, settings=settings, out_dir=out_dir)
    return 0


if __name__ == "__main__":
    run_stage(main)
