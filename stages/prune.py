"""Prune one trained model while fine-tuning it; done at once when no scheme of params.yaml asks for pruned weights."""

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
from stages.core.variants import why_unneeded, write_unneeded


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/pruned/<model>`."""
    args = parse_args("prune", argv, about=__doc__, model=True)
    die_with_parent()
    params, layout, detector = load_params(args.root), Layout(args.root), DETECTORS[args.model]
    if reason := why_unneeded(params, args.model, Variant.PRUNED):
        write_unneeded(layout.variant(args.model, Variant.PRUNED), args.model, Variant.PRUNED, reason=reason)
        print(f"{args.model}: not pruned: {reason}")
        return 0
    source = layout.variant(args.model, Variant.TRAINED)
    read_source(source, args.model)
    settings = params.refine_settings(args.model, params.prune)
    data = read_training_data(layout, detector)
    check_batch_size(args.model, settings.batch_size, data.num_train)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with redirect_noise(layout.work / args.model / f"prune-{os.getpid()}.log") as log:
            # TensorFlow takes ten seconds to import and is loud: what is wrong with the above is said before.
            from stages.core.training.pruning import Pruning
            from stages.core.training.session import train_detector

            refinement = Pruning(source=source, params=params.prune)
            result = train_detector(layout, detector, settings, data, log, refinement=refinement)
    except Interrupted as stop:
        print(f"prune {args.model}: {stop}", file=sys.stderr)
        return stop.status
    print(f"{args.model}: {format_ap(result.validation)} on val, weights of step {result.best_step} of {result.steps}")
    return 0


if __name__ == "__main__":
    run_verb(main)
