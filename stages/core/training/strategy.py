"""tf.distribute strategies by name, through Model Garden's own factory."""

from typing import Any

import tensorflow as tf
from official.common import distribute_utils
from official.core import config_definitions as cfg

from stages.core.base.errors import TrainingError


def create_strategy(runtime: cfg.RuntimeConfig) -> Any:
    """The strategy that a configuration's `runtime` section names, on the devices that are there.

    `runtime.num_gpus` 0 means all GPUs (one for `one_device`), or the CPU where there is none. `multi_worker_mirrored`
    takes its cluster from `runtime.worker_hosts` and `runtime.task_index`, or from TF_CONFIG; every worker runs the
    same command in a clone of its own and ends with the same weights.

    Raises:
      TrainingError: if the strategy cannot be set up here.
    """
    name = runtime.distribution_strategy
    num_gpus = runtime.num_gpus or len(tf.config.list_physical_devices("GPU"))
    try:
        if name == "multi_worker_mirrored":
            distribute_utils.configure_cluster(runtime.worker_hosts, runtime.task_index)
        return distribute_utils.get_distribution_strategy(
            distribution_strategy=name,
            num_gpus=min(num_gpus, 1) if name == "one_device" else num_gpus,
            all_reduce_alg=runtime.all_reduce_alg,
            num_packs=runtime.num_packs,
            tpu_address=runtime.tpu or "",
        )
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        message = " ".join(str(error).split())[:200]
        raise TrainingError(f"strategy {name} cannot be set up on this machine ({message})") from None
