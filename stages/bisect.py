"""Find the first layer in which a converted file parts from the float graph, on the same pixels."""

from collections.abc import Sequence

from rich.console import Console

from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.bisecting.bisect import bisect_file
from stages.core.bisecting.showing import print_bisection, summarize_bisection
from stages.core.command_line import parse_args, run_stage
from stages.core.datasets.prepared import read_evaluation_split
from stages.core.params.tree import load_params
from stages.core.results.conversion import Conversion
from stages.core.tables.schemes import SCHEMES

IMAGES = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Prints tensor by tensor how far the file is from what it was made of; writes nothing."""
    numbers = {
        "images": f"how many images of the evaluation split (default: {IMAGES})",
        "min-sqnr": "dB below which a tensor has parted (default: by type of the weights)",
    }
    args = parse_args("bisect", argv, about=__doc__, model=True, scheme=True, numbers=numbers)
    params, layout, scheme = load_params(args.root), Layout(args.root), SCHEMES[args.scheme]
    folder = layout.converted(args.model, scheme.name)
    split = read_evaluation_split(layout.split(params.validation.split))
    found = bisect_file(
        read_json(Conversion, folder / RESULT_FILE),
        scheme,
        folder=folder,
        exported=layout.exported(args.model, scheme.source),
        images=[image.path for image in split.images[: int(args.images or IMAGES) or 1]],
        min_sqnr_db=args.min_sqnr,
    )
    print_bisection(found, Console(width=160))
    print(summarize_bisection(found, f"{args.model} {scheme.name}"))
    return 0


if __name__ == "__main__":
    run_stage(main)
