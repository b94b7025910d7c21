"""Judge one converted file on the prepared split: AP beside the float model's, parity, agreement."""

from collections.abc import Sequence

from stages.core.command import parse_args, run_verb
from stages.core.datasets.prepared import read_judged_split, read_prepare_report
from stages.core.jsonfile import read_json, write_json
from stages.core.layout import Layout
from stages.core.measuring.judging import judge_conversion
from stages.core.measuring.summary import summarize_validation
from stages.core.params.tree import load_params
from stages.core.reference import save_reference
from stages.core.results.conversion import Conversion
from stages.core.schemes import Variant


def main(argv: Sequence[str] | None = None) -> int:
    """Reads `converted/<scheme>` and the float reference, writes `validated/<scheme>.json` and `.npz`."""
    args = parse_args("validate", argv, about=__doc__, model=True, scheme=True)
    params, layout = load_params(args.root), Layout(args.root)
    settings = params.validation
    folder = layout.converted(args.model, args.scheme)
    split = read_judged_split(layout.split(settings.split))
    validation, pictures = judge_conversion(
        read_json(Conversion, folder / "result.json"),
        folder=folder,
        exported=layout.exported(args.model, Variant.TRAINED),
        split=split,
        data_sha256=read_prepare_report(layout.prepare_report).splits[settings.split].sha256,
        num_threads=settings.num_threads,
        max_seconds=settings.max_seconds,
        subset_images=settings.subset_images,
        agreement_score=settings.agreement_score,
        num_pictures=params.report.num_pictures,
    )
    save_reference(pictures, layout.moved(args.model, args.scheme))
    write_json(validation, layout.validated(args.model, args.scheme))
    print(summarize_validation(validation))
    return 0


if __name__ == "__main__":
    run_verb(main)
