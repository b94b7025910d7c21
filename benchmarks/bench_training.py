"""Images per second of a training: this project's task beside Model Garden's own, on the same data and model.

`python benchmarks/bench_training.py [--models NAME ...] [--steps 20] [--repeats 2]`

Each is measured in a fresh process, in turns: the input pipeline alone, then training steps fed by it, after the graph
is traced. Model Garden's task decodes every image in every epoch and computes in float32; ours keeps decoded images,
and computes gradients of convolutions in bfloat16 where the processor can. Prints a table, and as its last line a JSON
object with ours over Model Garden's; the best of each one's repeats counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.core.base.layout import Layout
from stages.core.datasets.prepare import prepare_data
from stages.core.params.steps import PrepareParams
from stages.core.params.training import TrainSettings

SIDES = ("model_garden", "ours")
SIZE = 256
BATCH = {"retinanet_mobiledet_edgetpu": 8, "maskrcnn_mobiledet": 4}
WARMUP_STEPS = 3


def measure(side: str, model: str, root: Path, steps: int) -> dict[str, float]:
    """Images per second of one side, in this process."""
    import tensorflow as tf
    from official.core import task_factory

    from stages.core.detectors.build import build_experiment, create_variables, register_experiments
    from stages.core.detectors.data import read_training_data
    from stages.core.tables.detectors import DETECTORS
    from stages.core.training.bfloat16 import has_bfloat16
    from stages.core.training.clock import TrainingLength
    from stages.core.training.tasks import TrainingSetup, build_training_task

    layout, detector = Layout(root), DETECTORS[model]
    register_experiments()
    # A moving average is the trainer's business, not the task's: left out on both sides.
    settings = TrainSettings(input_size=(SIZE, SIZE), batch_size=BATCH[model], ema_decay=0.0)
    config = build_experiment(detector, settings, read_training_data(layout, detector))
    config.task.train_data.input_path = str(root / config.task.train_data.input_path)
    if side == "ours":
        setup = TrainingSetup(
            annotations=layout.annotations("train"),
            length=TrainingLength(steps=settings.steps, max_minutes=None),
            average_follows_clock=False,
            bfloat16_gradients=has_bfloat16(),
        )
        task = build_training_task(config, setup, logging_dir=root)
    else:
        task = task_factory.get_task(config.task)
    batches: Iterator[Any] = iter(task.build_inputs(config.task.train_data))
    network = create_variables(task.build_model(), config.task.model)
    optimizer = task.create_optimizer(config.trainer.optimizer_config, config.runtime)
    metrics = task.build_metrics(training=True)

    @tf.function
    def step(inputs: Any) -> Any:
        return task.train_step(inputs, model=network, optimizer=optimizer, metrics=metrics)

    num_images = len(json.loads(layout.annotations("train").read_bytes())["images"])
    epoch = -(-num_images // BATCH[model])
    for _ in range(epoch):  # the first epoch fills the cache
        next(batches)
    started = time.perf_counter()
    for _ in range(steps):
        next(batches)
    pipeline = time.perf_counter() - started
    for _ in range(WARMUP_STEPS):
        step(next(batches))
    started = time.perf_counter()
    for _ in range(steps):
        step(next(batches))
    total = time.perf_counter() - started
    images = steps * BATCH[model]
    return {"images_per_second": images / total, "pipeline_images_per_second": images / pipeline}


def run(side: str, model: str, root: Path, steps: int) -> dict[str, float]:
    """The same in a fresh process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--worker", side, model, str(root), str(steps)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and the ratios."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(BATCH), default=list(BATCH))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        side, model, root, steps = args.worker
        print(json.dumps(measure(side, model, Path(root), int(steps))))
        return 0
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        spec = {"num_train": 160, "num_val": 8, "num_test": 0, "size": SIZE}
        params = PrepareParams.model_validate({"synthetic": spec, "calibration_images": 4})
        prepare_data(params, folder=Path(folder), out_dir=Layout(Path(folder)).prepared)
        print(f"{'model':<20} {'task':<14} {'images/s':>9} {'pipeline alone':>15}", flush=True)
        for model in args.models:
            best = dict.fromkeys(SIDES, 0.0)
            for _ in range(args.repeats):
                for side in SIDES:
                    found = run(side, model, Path(folder), args.steps)
                    best[side] = max(best[side], found["images_per_second"])
                    speeds = found["images_per_second"], found["pipeline_images_per_second"]
                    print(f"{model:<20} {side:<14} {speeds[0]:>9.2f} {speeds[1]:>15.1f}", flush=True)
            ratios[model] = round(best["ours"] / best["model_garden"], 3)
    print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
