"""Training at several input sizes: small ones first, or another one every few steps.

Sources: Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger" (CVPR 2017) for sizes at random; Tan and Le,
"EfficientNetV2: Smaller Models and Faster Training" (ICML 2021) for sizes that grow.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from official.core import config_definitions as cfg

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SizePlan:
    """Which input size a step has.

    Attributes:
      input_size: (height, width) in pixels of the finished model's input.
      others: Further sizes.
      order: growing: `others` by their pixels, for equal shares of the steps; random: one of `others` or `input_size`.
      final_share: Share of the steps, at the end, at `input_size` alone.
      seed: Of the draws.
    """

    input_size: Size
    others: Sequence[Size]
    order: str
    final_share: float
    seed: int

    def size_at(self, step: int, share_done: float) -> Size:
        """The size from `step` on, until it is asked again.

        Args:
          step: Of the training.
          share_done: How much of the training is done by then, 0..1.
        """
        share = share_done / (1.0 - self.final_share)
        if not self.others or share >= 1.0:
            return self.input_size
        if self.order == "random":
            sizes = [*self.others, self.input_size]
            return sizes[np.random.default_rng([self.seed, step]).integers(len(sizes))]
        return sorted(self.others, key=math.prod)[math.floor(share * len(self.others))]


def plan_sizes(config: cfg.ExperimentConfig) -> SizePlan:
    """The plan of a training's configuration."""
    task = config.task
    height, width = task.model.input_size[:2]
    return SizePlan(
        input_size=(height, width),
        others=list(zip(task.multi_scale.heights, task.multi_scale.widths, strict=True)),
        order=task.multi_scale.order,
        final_share=task.multi_scale.final_share,
        seed=task.train_data.seed or 0,
    )


def count_caches(multi_scale: Any) -> int:
    """How many input pipelines of a training hold decoded images at a time. `multi_scale` is the task's section."""
    return 1 + len(multi_scale.heights) if multi_scale.order == "random" else 1


def follow_sizes(
    trainer: Any,
    config: cfg.ExperimentConfig,
    build_task: Callable[[cfg.ExperimentConfig], Any],
    on_new_size: Callable[[Size], None],
) -> None:
    """Has a trainer read batches of the size that is planned for each of its loops; evaluations stay as they are.

    The training step is traced once for every size, and each size has an input pipeline of its own.

    Args:
      trainer: Model Garden's, whose task is one of this project's; changed in place.
      config: With absolute paths.
      build_task: From a configuration to the task whose `build_inputs` gives training batches.
      on_new_size: Called with every size before it is first used.
    """
    plan, share_done = plan_sizes(config), trainer.task.setup.length.share_done
    if not plan.others:
        return
    for part in trainer.model.submodules:
        if getattr(part, "_is_graph_network", False):
            part.input_spec = None  # Keras would refuse inputs of another size than the model was built with
    iterators: dict[Size, Any] = {}
    begin = trainer.train_loop_begin

    def begin_at_planned_size() -> None:
        begin()
        size = plan.size_at(int(trainer.global_step.numpy()), float(share_done.numpy()))
        if size not in iterators:
            if plan.order == "growing":
                iterators.clear()  # with its cache
            on_new_size(size)
            is_full = size == plan.input_size
            dataset = trainer.train_dataset if is_full else _build_dataset(trainer, config, build_task, size)
            iterators[size] = iter(dataset)
        trainer._train_iter = iterators[size]

    trainer.train_loop_begin = begin_at_planned_size


def _build_dataset(
    trainer: Any, config: cfg.ExperimentConfig, build_task: Callable[[cfg.ExperimentConfig], Any], size: Size
) -> Any:
    sized = copy.deepcopy(config)
    sized.task.model.input_size = [*size, 3]
    return trainer.distribute_dataset(build_task(sized).build_inputs, sized.task.train_data)
