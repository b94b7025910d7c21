"""Models and pictures to measure with: trained weights where a folder is given, else seeded random ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from stages.core.base.jsonfile import read_json
from stages.core.base.layout import EXPERIMENT_FILE, RESULT_FILE
from stages.core.datasets.prepared import load_image
from stages.core.datasets.synthetic import SHAPES, SceneSpec, write_scene
from stages.core.detectors.build import ARCHITECTURES, build_model, read_experiment, restore_weights
from stages.core.exporting.graph import INPUT_NAME, PostProcessingSettings, padding_color
from stages.core.params.steps import ExportParams
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.interface import ImageInput
from stages.core.results.training import TrainResult
from stages.core.tables.detectors import DETECTORS, SIGNED

SETTLING_STEPS = 12
WEIGHT_NOISE = 0.05
SETTINGS = PostProcessingSettings(**ExportParams().model_dump())
"""What the pipeline exports with unless told otherwise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model to export.

    Attributes:
      config: The experiment.
      model: `tf_keras.Model` with its weights.
      weights: One line on where they come from.
    """

    config: Any
    model: Any
    weights: str


def take_subject(name: str, *, size: int, images: Sequence[np.ndarray], trained: Path | None = None) -> Subject:
    """A model of the detector table at an input of `size` x `size` pixels.

    Args:
      name: Row of the detector table.
      size: Side of the input in pixels; a trained model may have been trained at another one.
      images: float32 [1, size, size, 3], 0..255: random weights get their batch statistics from them.
      trained: Folder that `train` wrote for this model; None for random weights.

    Raises:
      MissingResultError, ArtifactError, CheckpointError: if the trained folder is missing or damaged.
    """
    return _random(name, size, images) if trained is None else _trained(trained, size)


def _trained(folder: Path, size: int) -> Subject:
    result = read_json(TrainResult, folder / RESULT_FILE)
    config = read_experiment(folder / EXPERIMENT_FILE, DETECTORS[result.model])
    config.task.model.input_size = [size, size, 3]
    model = build_model(config)
    restore_weights(model, folder / result.checkpoint)
    return Subject(config=config, model=model, weights=f"trained for {result.steps} steps ({folder})")


def _random(name: str, size: int, images: Sequence[np.ndarray]) -> Subject:
    """Random weights that give many different scores, and batch statistics that fit them: no layer runs empty."""
    tf_keras.utils.set_random_seed(0)
    config = ARCHITECTURES[DETECTORS[name].family](DETECTORS[name])
    config.task.model.num_classes = len(SHAPES) + 1
    config.task.model.input_size = [size, size, 3]
    model = build_model(config)
    for variable in model.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=WEIGHT_NOISE))
    batch = tf.constant(np.concatenate(images[:4])) / 127.5 - 1.0
    for _ in range(SETTLING_STEPS):
        features = model.backbone(batch, training=True)
        if model.decoder:
            model.decoder(features, training=True)
    return Subject(config=config, model=model, weights="random, seed 0 (no trained folder given)")


def draw_pictures(folder: Path, *, num: int, size: int) -> list[Path]:
    """Writes synthetic scenes; the same numbers give the same files."""
    paths = [folder / f"{number:03}.jpg" for number in range(num)]
    for number, path in enumerate(paths):
        write_scene(SceneSpec(seed=(0, number), path=path, split="train", size=size, max_objects=4))
    return paths


def image_input(size: int) -> ImageInput:
    """The contract of an exported graph's input."""
    return ImageInput(
        name=INPUT_NAME,
        shape=(1, size, size, 3),
        dtype="float32",
        pad_value=padding_color(SIGNED),
        normalization="inside",
    )


def load_pictures(paths: Sequence[Path], size: int) -> list[np.ndarray]:
    """float32 [1, size, size, 3] tensors, RGB, 0..255."""
    return [preprocess_image(load_image(path), image_input(size))[0].astype(np.float32) for path in paths]
