"""A project on disk with tiny models of random weights, exported by `export` itself: the same ops as trained ones."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.results.kinds import Variant
from stages.core.results.preparation import CalibrationImage, CalibrationList
from stages.core.tables.schemes import SCHEMES
from tests.builders import LABELS, train_result, write_split

SIZE = 128
MODELS = ("retinanet_mobiledet_tiny", "maskrcnn_tiny")
SCHEMES_OF_TRAINED = [name for name, scheme in SCHEMES.items() if scheme.source is Variant.TRAINED]
EXPORT = {"max_detections": 12, "num_proposals": 40, "score_threshold": 0.0, "nms_iou_threshold": 0.3}


def random_model(name: str, *, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    """(configuration, model) of a row of the detector table, with weights that are random but not tiny.

    One-stage detectors get weights that let the pixels through: with initial ones activations fade away, and all images
    would give the same detections, all of one class. `changes` are laid over the configuration of the model.
    """
    import tensorflow as tf
    import tf_keras

    from stages.core.detectors.build import ARCHITECTURES, build_model
    from stages.core.tables.detectors import DETECTORS

    tf_keras.utils.set_random_seed(seed)
    config = ARCHITECTURES[DETECTORS[name].family](DETECTORS[name])
    config.task.model.num_classes = len(LABELS) + 1
    config.task.model.input_size = [SIZE, SIZE, 3]
    config.task.model.override(changes)
    model = build_model(config)
    rng = np.random.default_rng(seed)
    lively = not DETECTORS[name].has_masks
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        if lively and "kernel" in variable.name:
            # Half of He's variance: the sums of residual branches grow, and sigmoids must not saturate.
            fan_in = np.prod(shape[:2] if "depthwise" in variable.name else shape[:-1])
            variable.assign(rng.normal(0, fan_in**-0.5, shape))
        elif lively and variable.name.endswith("scores/bias:0"):
            variable.assign(np.full(shape, -2.0))
        else:
            variable.assign_add(tf.random.normal(shape, stddev=0.05))
    return config, model


def write_trained(folder: Path, name: str) -> None:
    """A folder as `train` leaves it."""
    import tensorflow as tf

    from stages.core.detectors.build import write_experiment

    config, model = random_model(name)
    folder.mkdir(parents=True)
    write_experiment(config, folder / "experiment.yaml")
    prefix = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint" / "ckpt-2"))
    result = train_result(name, checkpoint="checkpoint/ckpt-2", input_size=(SIZE, SIZE), steps=2, best_step=2)
    assert Path(prefix).parent == folder / "checkpoint"
    write_json(result, folder / "result.json")


def write_prepared(layout: Layout, *, num_images: int = 6) -> None:
    """Prepared splits train and val, labels and the calibration list."""
    for seed, split in enumerate(("train", "val")):
        write_split(layout.split(split), num_images=num_images, seed=seed)
    write_json(LABELS, layout.labels)
    files = sorted((layout.split("train") / "images").iterdir())
    chosen = tuple(CalibrationImage(file=str(f.relative_to(layout.prepared)), sha256=hash_file(f)) for f in files)
    write_json(CalibrationList(seed=0, split="train", images=chosen), layout.calibration)


def write_exported_project(root: Path) -> Layout:
    """params.yaml, prepared data, and both tiny models trained and exported."""
    from stages import export, reference

    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)
    tree = {
        "models": list(MODELS),
        "schemes": ["float32", "int8"],
        "export": EXPORT,
        "convert": {"calibration_images": 2},
    }
    layout.params.write_text(yaml.safe_dump(tree))
    write_prepared(layout)
    for name in MODELS:
        write_trained(layout.variant(name, "trained"), name)
        for stage in (export, reference):
            assert stage.main(["--model", name, "--root", str(root)]) == 0
    return layout
