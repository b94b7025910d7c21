"""A project whose models have first weights in place of trained ones: what a later training starts from."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.results.kinds import Variant
from tests.builders import train_result

SIZE = 64
TRAINING: dict[str, Any] = {
    "input_size": [SIZE, SIZE],
    "batch_size": 4,
    "checkpoint_interval": 5,
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "weight_decay": 4e-5,
    "ema_decay": 0,
}


def write_params(root: Path, *, models: list[str], schemes: list[str], **sections: Any) -> None:
    tree = {
        "models": models,
        "schemes": schemes,
        "prepare": {"synthetic": {"num_train": 12, "num_val": 5, "num_test": 0, "size": SIZE}, "calibration_images": 2},
        "train": {"common": TRAINING},
        **sections,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(tree))


def write_weights(layout: Layout, name: str, variant: Variant, *, num_zeros: int = 0) -> None:
    """A folder as `train` or `prune` leaves it: prepared data is read, weights are as they are initialized.

    Args:
      num_zeros: So many first values of every kernel are zero.
    """
    import tensorflow as tf
    import tf_keras

    from stages.core.detectors.build import build_experiment, build_model, register_experiments, write_experiment
    from stages.core.detectors.data import read_training_data
    from stages.core.params.training import TrainSettings
    from stages.core.tables.detectors import DETECTORS

    folder, detector = layout.variant(name, variant), DETECTORS[name]
    folder.mkdir(parents=True)
    register_experiments()
    tf_keras.utils.set_random_seed(0)
    data = read_training_data(layout, detector)
    config = build_experiment(detector, TrainSettings.model_validate(TRAINING), data)
    model = build_model(config)
    for variable in model.trainable_variables:
        # As they come, the weights of the heads' ends are too small to answer anything.
        value = (variable + tf.random.normal(variable.shape, stddev=0.02)).numpy()
        if len(value.shape) >= 2:
            value.reshape(-1)[:num_zeros] = 0.0
        variable.assign(value)
    tf.train.Checkpoint(model=model, **model.checkpoint_items).write(str(folder / "checkpoint" / "ckpt"))
    write_experiment(config, folder / "experiment.yaml")
    result = train_result(
        name, variant=variant, checkpoint="checkpoint/ckpt", input_size=(SIZE, SIZE), num_classes=data.num_classes
    )
    write_json(result, folder / "result.json")


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM to this very process when training comes to a step."""
    from stages.core.training.fit import LoopWatch

    look = LoopWatch._refuse_non_finite

    def refuse_and_stop(watch: LoopWatch, now: int, values: dict[str, float]) -> None:
        look(watch, now, values)
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(LoopWatch, "_refuse_non_finite", refuse_and_stop)
