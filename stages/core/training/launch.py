"""What the command lines of all trainings share: quiet third parties, an orderly stop, one line at the end."""

import os
import sys
from collections.abc import Callable

from stages.core.base.layout import Layout
from stages.core.base.native_output import redirect_output
from stages.core.base.plain_paths import plain_path
from stages.core.base.stopping import Stopped
from stages.core.detectors.data import check_batch_size, read_training_data
from stages.core.params.training import TrainSettings
from stages.core.results.kinds import MAKERS, Variant
from stages.core.tables.detectors import Detector
from stages.core.training.history import format_ap
from stages.core.training.refinement import Refinement


def run_training(
    layout: Layout,
    detector: Detector,
    settings: TrainSettings,
    variant: Variant = Variant.TRAINED,
    refine: Callable[[], Refinement] | None = None,
) -> int:
    """Trains one model as `train.train_detector` does, and returns the process's exit status.

    Args:
      refine: Makes the refinement of a later training; called when TensorFlow may be imported.
    """
    data = read_training_data(layout, detector)
    check_batch_size(detector.name, settings.batch_size, data.num_train)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        log_path = layout.work / detector.name / f"{variant}-{os.getpid()}.log"
        with redirect_output(log_path) as log, plain_path(layout.root) as root:
            # TensorFlow takes ten seconds to import and is loud: what is wrong with the above is said before.
            from stages.core.training.train import train_detector

            result = train_detector(
                Layout(root), detector, settings, data, log, refinement=refine() if refine else None
            )
    except Stopped as stop:
        print(f"{MAKERS[variant]} {detector.name}: {stop}", file=sys.stderr)
        return stop.status
    ap = format_ap(result.validation)
    print(f"{detector.name}: {ap} on val, weights of step {result.best_step} of {result.steps}")
    return 0
