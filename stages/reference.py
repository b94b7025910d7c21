"""Run the float model on the evaluation split: what every converted file is compared with."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.datasets.prepared import read_evaluation_split
from stages.core.params.tree import load_params
from stages.core.processing.stored_outputs import save_outputs
from stages.core.results.kinds import Variant


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/reference/<model>.npz`, from the model as first trained, whatever a scheme starts from."""
    args = parse_args("reference", argv, about=__doc__, model=True)
    params, layout = load_params(args.root), Layout(args.root)
    split = read_evaluation_split(layout.split(params.validation.split))
    # TensorFlow takes seconds to import: not before the arguments are known to be right.
    from stages.core.referencing.reference import compute_reference

    outputs = compute_reference(layout.exported(args.model, Variant.TRAINED), split)
    save_outputs(outputs, layout.reference(args.model))
    print(f"{args.model}: reference outputs on {len(outputs.image_ids)} images of {outputs.split}")
    return 0


if __name__ == "__main__":
    run_stage(main)
