"""Prune one trained model while fine-tuning it; done at once when no scheme of params.yaml asks for pruned weights."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params
from stages.core.results.kinds import SOURCES, Variant
from stages.core.tables.detectors import DETECTORS
from stages.core.training.launch import run_training
from stages.core.training.needed import skip_if_not_needed
from stages.core.training.refinement import Refinement, read_source


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/pruned/<model>`."""
    args = parse_args("prune", argv, about=__doc__, model=True)
    params, layout, variant = load_params(args.root), Layout(args.root), Variant.PRUNED
    if skip_if_not_needed(params, layout, args.model, variant):
        return 0
    source = layout.variant(args.model, SOURCES[variant])
    read_source(source, args.model)

    def refine() -> Refinement:
        from stages.core.pruning.prune import Pruning

        return Pruning(source=source, params=params.prune)

    settings = params.refine_settings(args.model, params.prune)
    return run_training(layout, DETECTORS[args.model], settings, variant, refine)


if __name__ == "__main__":
    run_stage(main)
