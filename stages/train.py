"""Train one model of the table on the prepared data: resumes a training that was stopped, keeps the best weights."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params
from stages.core.results.kinds import Variant
from stages.core.tables.detectors import DETECTORS
from stages.core.training.launch import run_training
from stages.core.training.needed import skip_if_not_needed


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/trained/<model>`; for a brought model only that there is nothing to train."""
    clock = {"max-minutes": "train by the clock for so long, whatever params.yaml says"}
    args = parse_args("train", argv, about=__doc__, model=True, numbers=clock)
    params, layout = load_params(args.root), Layout(args.root)
    if skip_if_not_needed(params, layout, args.model, Variant.TRAINED):
        return 0
    settings = params.train_settings(args.model)
    if args.max_minutes is not None:
        settings = settings.model_copy(update={"max_minutes": args.max_minutes})
    return run_training(layout, DETECTORS[args.model], settings)


if __name__ == "__main__":
    run_stage(main)
