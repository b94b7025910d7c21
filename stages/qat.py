"""Train one model on under the rounding of int8; done at once when no scheme of params.yaml asks for such weights."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params
from stages.core.results.kinds import SOURCES, Variant
from stages.core.tables.detectors import DETECTORS
from stages.core.training.launch import run_training
from stages.core.training.needed import skip_if_not_needed
from stages.core.training.refinement import Refinement, read_source

VARIANTS = (Variant.QAT, Variant.PRUNED_QAT)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/qat/<model>`, or `models/pruned_qat/<model>` with `--variant pruned_qat`."""
    args = parse_args("qat", argv, about=__doc__, model=True, variants=VARIANTS)
    params, layout, variant = load_params(args.root), Layout(args.root), Variant(args.variant)
    if skip_if_not_needed(params, layout, args.model, variant):
        return 0
    source = layout.variant(args.model, SOURCES[variant])
    read_source(source, args.model)

    def refine() -> Refinement:
        from stages.core.quantizing.qat import QuantizationAware

        return QuantizationAware(variant=variant, source=source)

    settings = params.refine_settings(args.model, params.qat)
    return run_training(layout, DETECTORS[args.model], settings, variant, refine)


if __name__ == "__main__":
    run_stage(main)
