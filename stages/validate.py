"""Evaluate one converted file on the evaluation split: AP beside the float model's, parity, agreement."""

from collections.abc import Sequence

from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.datasets.prepared import read_evaluation_split, read_prepare_report
from stages.core.params.tree import load_params
from stages.core.processing.stored_outputs import save_outputs
from stages.core.results.conversion import Conversion
from stages.core.results.interface import read_interface
from stages.core.results.kinds import Variant
from stages.core.validating.summary import summarize_validation
from stages.core.validating.validate import validate_conversion


def main(argv: Sequence[str] | None = None) -> int:
    """Reads `converted/<scheme>` and the float reference, writes `validated/<scheme>.json` and `.npz`."""
    args = parse_args("validate", argv, about=__doc__, model=True, scheme=True)
    params, layout = load_params(args.root), Layout(args.root)
    settings = params.validation
    folder = layout.converted(args.model, args.scheme)
    split = read_evaluation_split(layout.split(settings.split))
    validation, outputs = validate_conversion(
        read_json(Conversion, folder / RESULT_FILE),
        folder=folder,
        interface=read_interface(layout.exported(args.model, Variant.TRAINED)),
        reference_path=layout.reference(args.model),
        split=split,
        prepared=read_prepare_report(layout.prepare_report),
        num_threads=settings.num_threads,
        max_seconds=settings.max_seconds,
        subset_images=settings.subset_images,
        agreement_score=settings.agreement_score,
    )
    save_outputs(outputs, layout.validated_outputs(args.model, args.scheme))
    write_json(validation, layout.validated(args.model, args.scheme))
    print(summarize_validation(validation))
    return 0


if __name__ == "__main__":
    run_stage(main)
