"""Whether the parts of a resolved configuration go together, whoever set them: parameters or `overrides`."""

from collections.abc import Iterator
from typing import Any

from official.core import config_definitions as cfg

from stages.core.base.errors import ParamsError
from stages.core.detectors.training_config import RetinaNetTraining, SSDLiteTraining


def check_consistency(config: cfg.ExperimentConfig, *, where: str) -> None:
    """Refuses what would train another thing than the configuration says elsewhere.

    Args:
      config: Of a first training, with everything laid over it.
      where: What messages call its section, e.g. `params.yaml: train.retinanet_mobiledet_cpu`.

    Raises:
      ParamsError: with the first contradiction.
    """
    for fault in _faults(config.task):
        raise ParamsError(f"{where}.{fault}")


def _faults(task: Any) -> Iterator[str]:
    yield from _faults_of_fine_tuning(task)
    if isinstance(task, SSDLiteTraining) and task.methods.assigner == "task_aligned":
        yield "losses.assigner: task_aligned is for maps with as many anchors in every cell, not for an SSDLite"
    if task.resize not in ("letterbox", "stretch"):
        yield f"resize: found {task.resize!r}, expected letterbox or stretch"
    # Mask R-CNN's parser knows no other value of the field than true, and `tracing.py` does without it.
    parsers = ("train_data", "validation_data") if isinstance(task, RetinaNetTraining) else ()
    for name in parsers:
        keeps = getattr(task, name).parser.keep_aspect_ratio
        if keeps != (task.resize == "letterbox"):
            yield (
                f"overrides.task.{name}.parser.keep_aspect_ratio: {str(keeps).lower()} contradicts resize "
                f"{task.resize}, which export writes into interface.json; set resize alone"
            )


def _faults_of_fine_tuning(task: Any) -> Iterator[str]:
    modules = task.init_checkpoint_modules
    is_loaded = "all" in modules or "backbone" in modules
    for name, off in (("freeze_backbone_steps", 0), ("layer_decay", 1.0)):
        value = getattr(task, name)
        if value == off:
            continue
        if not task.init_checkpoint:
            yield f"{name}: {value:g} is for a pretrained backbone, and there is no init_checkpoint; {off:g} is off"
        elif not is_loaded:
            yield f"{name}: {value:g} is for a pretrained backbone; init_modules must be all or name backbone"
