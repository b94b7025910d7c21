"""Train one model of the table on the prepared data: resumes a training that was stopped, keeps the best weights."""

import os
import sys
from collections.abc import Sequence

from stages.core.command import parse_args, run_verb
from stages.core.detectors.data import check_batch_size, read_training_data
from stages.core.detectors.table import DETECTORS
from stages.core.layout import Layout
from stages.core.params.tree import load_params
from stages.core.training.history import format_ap
from stages.core.training.interrupts import Interrupted, die_with_parent
from stages.core.training.noise import redirect_noise


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/<model>/trained`."""
    args = parse_args("train", argv, about=__doc__, model=True)
    die_with_parent()
    layout, detector = Layout(args.root), DETECTORS[args.model]
    settings = load_params(args.root).train_settings(args.model)
    data = read_training_data(layout, detector)
    check_batch_size(args.model, settings.batch_size, data.num_train)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with redirect_noise(layout.work / args.model / f"start-{os.getpid()}.log") as log:
            # TensorFlow takes ten seconds to import and is loud: what is wrong with the above is said before.
            from stages.core.training.session import train_detector

            result = train_detector(layout, detector, settings, data, log)
    except Interrupted as stop:
        print(f"train {args.model}: {stop}", file=sys.stderr)
        return stop.status
    print(f"{args.model}: {format_ap(result.validation)} on val, weights of step {result.best_step} of {result.steps}")
    return 0


if __name__ == "__main__":
    run_verb(main)
