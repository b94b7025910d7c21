"""Prune one trained model while fine-tuning it; done at once when no scheme of params.yaml asks for pruned weights."""

from collections.abc import Sequence

from stages.core.command import parse_args, run_verb
from stages.core.detectors.table import DETECTORS
from stages.core.layout import Layout
from stages.core.params.tree import load_params
from stages.core.schemes import Variant
from stages.core.training.command import run_training
from stages.core.training.refinement import Refinement, read_source
from stages.core.variants import SOURCES, skip_unneeded


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/pruned/<model>`."""
    args = parse_args("prune", argv, about=__doc__, model=True)
    params, layout, variant = load_params(args.root), Layout(args.root), Variant.PRUNED
    if skip_unneeded(params, layout, args.model, variant):
        return 0
    source = layout.variant(args.model, SOURCES[variant])
    read_source(source, args.model)

    def refine() -> Refinement:
        from stages.core.training.pruning import Pruning

        return Pruning(source=source, params=params.prune)

    settings = params.refine_settings(args.model, params.prune)
    return run_training(layout, DETECTORS[args.model], settings, variant, refine)


if __name__ == "__main__":
    run_verb(main)
