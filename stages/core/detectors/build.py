"""From a row of the detector table to a configuration, a task, a model, and a trained model read back."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
import yaml
from official.core import base_task, exp_factory, task_factory
from official.core import config_definitions as cfg

from stages.core.base.errors import ArtifactError, CheckpointError, DataError
from stages.core.base.layout import EXPERIMENT_FILE
from stages.core.base.plain_paths import plain_path
from stages.core.detectors.as_written import as_written
from stages.core.detectors.consistency import check_consistency
from stages.core.detectors.data import TrainingData
from stages.core.detectors.maskrcnn import maskrcnn_architecture, maskrcnn_experiment
from stages.core.detectors.overrides import apply_overrides
from stages.core.detectors.recipe import apply_refinement
from stages.core.detectors.retinanet import retinanet_architecture, retinanet_experiment
from stages.core.detectors.ssdlite import ssdlite_architecture, ssdlite_experiment
from stages.core.params.training import TrainSettings
from stages.core.tables.detectors import DETECTORS, Detector, Family

ARCHITECTURES: dict[Family, Callable[[Detector], cfg.ExperimentConfig]] = {
    Family.RETINANET: retinanet_architecture,
    Family.SSDLITE: ssdlite_architecture,
    Family.MASKRCNN: maskrcnn_architecture,
}
BUILDERS: dict[Family, Callable[[Detector, TrainSettings, TrainingData], cfg.ExperimentConfig]] = {
    Family.RETINANET: retinanet_experiment,
    Family.SSDLITE: ssdlite_experiment,
    Family.MASKRCNN: maskrcnn_experiment,
}


def register_experiments() -> None:
    """Enters every row into Model Garden's experiment registry, for `exp_factory.get_exp_config(<name of the row>)`.

    Calling it again changes nothing.
    """
    for name, row in DETECTORS.items():
        try:
            exp_factory.get_exp_config(name)
        except (LookupError, ValueError):
            factory = functools.partial(ARCHITECTURES[row.family], row)
            exp_factory.register_config_factory(name)(factory)


def build_experiment(detector: Detector, settings: TrainSettings, data: TrainingData) -> cfg.ExperimentConfig:
    """The resolved configuration of one training; paths are relative to the project's root.

    Raises:
      ParamsError: if `settings.overrides` holds an unknown key or a value of the wrong kind, or contradicts parameters.
    """
    config = BUILDERS[detector.family](detector, settings, data)
    where = f"params.yaml: train.{detector.name}"
    apply_overrides(config, settings.overrides, where=f"{where}.overrides")
    check_consistency(config, where=where)
    return config


def refine_experiment(
    source: Path, detector: Detector, settings: TrainSettings, data: TrainingData
) -> cfg.ExperimentConfig:
    """The configuration that trained `source`, with its steps, learning rate, batch size and intervals replaced.

    Architecture, losses, anchors and augmentation stay those of the source, whatever `settings` says of them.

    Raises:
      ArtifactError: if the source's configuration is missing or does not fit.
      DataError: if the data has another number of classes.
    """
    config = read_experiment(source / EXPERIMENT_FILE, detector)
    trained_on = config.task.model.num_classes - 1
    if trained_on != data.num_classes:
        raise DataError(
            f"{source}: trained on {trained_on} classes, the prepared data has {data.num_classes}; run `train` again"
        )
    apply_refinement(config, settings, data)
    return config


def build_task(config: cfg.ExperimentConfig, *, logging_dir: Path | None = None) -> base_task.Task:
    """The task that Model Garden's registry has for this configuration."""
    return task_factory.get_task(config.task, logging_dir=None if logging_dir is None else str(logging_dir))


def build_model(config: cfg.ExperimentConfig) -> Any:
    """An untrained model: `tf_keras.Model` with every variable created."""
    return create_variables(build_task(config).build_model(), config.task.model)


@as_written
def create_variables(model: Any, config: Any) -> Any:
    """Runs a new model once, so that every variable exists. `config` is `task.model` of the experiment."""
    images = tf.zeros([1, *config.input_size])
    model(images, image_shape=tf.constant([config.input_size[:2]], tf.float32), training=False)
    return model


def write_experiment(config: cfg.ExperimentConfig, path: Path) -> None:
    """Writes the configuration as YAML."""
    path.write_text(yaml.safe_dump(_plain(config.as_dict()), sort_keys=False))


def read_experiment(path: Path, detector: Detector) -> cfg.ExperimentConfig:
    """Reads what `write_experiment` wrote.

    Raises:
      ArtifactError: if the file is missing, not YAML, or does not fit the detector's family.
    """
    try:
        config, tree = ARCHITECTURES[detector.family](detector), yaml.safe_load(path.read_text())
        config.override(tree, is_strict=True)
        if "pixels" not in tree["task"]["model"]:
            raise ArtifactError(f"{path}: written when models did not say how they scale pixels; run `train` again")
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; run `train` again") from None
    except (yaml.YAMLError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: not the configuration of a {detector.family} ({error})") from None
    return config


def restore_weights(model: Any, prefix: Path) -> None:
    """Reads every variable of `model` from a checkpoint that the trainer wrote.

    Raises:
      CheckpointError: if it is missing or damaged, or a variable has no value in it.
    """
    try:
        with plain_path(prefix.parent) as folder:
            status = tf.train.Checkpoint(model=model).read(str(folder / prefix.name))
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, AssertionError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{prefix}: cannot be read into the model: {' '.join(str(error).split())}") from None


def _plain(value: Any) -> Any:
    """Lists and dicts instead of the tuples that safe YAML refuses."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
