"""Build the static deployment graph of a trained model, and the float model's reference outputs."""

from collections.abc import Sequence

from stages.core.command import parse_args, run_verb
from stages.core.datasets.prepared import read_judged_split, read_labels
from stages.core.layout import Layout
from stages.core.params.tree import load_params
from stages.core.schemes import Variant
from stages.core.variants import read_unneeded, write_unneeded


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/exported/<model>/<variant>`."""
    args = parse_args("export", argv, about=__doc__, model=True, variants=tuple(Variant))
    params, layout = load_params(args.root), Layout(args.root)
    source, out_dir = layout.variant(args.model, args.variant), layout.exported(args.model, args.variant)
    if unneeded := read_unneeded(source):
        write_unneeded(out_dir, args.model, Variant(args.variant), reason=unneeded.reason)
        print(f"{args.model} {args.variant}: not exported: {unneeded.reason}")
        return 0
    split, labels = read_judged_split(layout.split(params.validation.split)), read_labels(layout.labels)
    # TensorFlow takes seconds to import: not before the arguments are known to be right.
    from stages.core.exporting.export import export_model
    from stages.core.exporting.graph import PostProcessingSettings

    export_model(
        source,
        labels=labels,
        # Every file is compared with the model as first trained, whatever weights it was made from.
        split=split if args.variant == Variant.TRAINED else None,
        settings=PostProcessingSettings(**params.export.model_dump()),
        out_dir=out_dir,
    )
    return 0


if __name__ == "__main__":
    run_verb(main)
