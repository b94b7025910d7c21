"""Train one model on under the rounding of int8; done at once when no scheme of params.yaml asks for such weights."""

import os
import sys
from collections.abc import Sequence

from stages.core.command import parse_args, run_verb
from stages.core.detectors.data import check_batch_size, read_training_data
from stages.core.detectors.table import DETECTORS
from stages.core.layout import Layout
from stages.core.params.tree import load_params
from stages.core.schemes import Variant
from stages.core.training.history import format_ap
from stages.core.training.interrupts import Interrupted, die_with_parent
from stages.core.training.noise import redirect_noise
from stages.core.training.refinement import read_source
from stages.core.variants import SOURCES, why_unneeded, write_unneeded

VARIANTS = (Variant.QAT, Variant.PRUNED_QAT)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/qat/<model>`, or `models/pruned_qat/<model>` with `--variant pruned_qat`."""
    args = parse_args("qat", argv, about=__doc__, model=True, variants=VARIANTS)
    die_with_parent()
    params, layout, detector = load_params(args.root), Layout(args.root), DETECTORS[args.model]
    variant = Variant(args.variant)
    if reason := why_unneeded(params, args.model, variant):
        write_unneeded(layout.variant(args.model, variant), args.model, variant, reason=reason)
        print(f"{args.model}: no {variant}: {reason}")
        return 0
    source = layout.variant(args.model, SOURCES[variant])
    read_source(source, args.model)
    settings = params.refine_settings(args.model, params.qat)
    data = read_training_data(layout, detector)
    check_batch_size(args.model, settings.batch_size, data.num_train)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with redirect_noise(layout.work / args.model / f"{variant}-{os.getpid()}.log") as log:
            # TensorFlow takes ten seconds to import and is loud: what is wrong with the above is said before.
            from stages.core.training.qat import QuantizationAware
            from stages.core.training.session import train_detector

            refinement = QuantizationAware(variant=variant, source=source, depthwise=params.qat.depthwise)
            result = train_detector(layout, detector, settings, data, log, refinement=refinement)
    except Interrupted as stop:
        print(f"qat {args.model}: {stop}", file=sys.stderr)
        return stop.status
    print(f"{args.model}: {format_ap(result.validation)} on val, weights of step {result.best_step} of {result.steps}")
    return 0


if __name__ == "__main__":
    run_verb(main)
