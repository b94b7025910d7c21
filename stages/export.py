"""Build the static deployment graph of a trained model, and the float model's reference outputs."""

from collections.abc import Sequence

from stages.core.command import parse_args, run_verb
from stages.core.datasets.prepared import read_judged_split, read_labels
from stages.core.layout import Layout
from stages.core.params import load_params
from stages.core.schemes import Variant


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/exported/<model>/trained`."""
    args = parse_args("export", argv, about=__doc__, model=True)
    params, layout = load_params(args.root), Layout(args.root)
    split, labels = read_judged_split(layout.split(params.validation.split)), read_labels(layout.labels)
    # TensorFlow takes seconds to import: not before the arguments are known to be right.
    from stages.core.exporting.export import export_model
    from stages.core.exporting.graph import PostProcessingSettings

    export_model(
        layout.variant(args.model, Variant.TRAINED),
        labels=labels,
        split=split,
        settings=PostProcessingSettings(**params.export.model_dump()),
        out_dir=layout.exported(args.model, Variant.TRAINED),
    )
    return 0


if __name__ == "__main__":
    run_verb(main)
