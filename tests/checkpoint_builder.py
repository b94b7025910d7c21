"""Checkpoints of every published kind, filled with random weights under the names that the real ones have."""

import http.server
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from stages.core.detectors.build import build_model
from stages.core.tables.detectors import DETECTORS
from stages.core.training.initializing.origin import InitCheckpoint, open_init_checkpoint
from stages.core.training.initializing.target import blank_target
from tests.experiment_builder import experiment
from tests.local_server import serving

LABELS = {1: "red", 2: "person", 3: "blue"}


def random_values(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Values under which signals neither vanish nor explode: kernels scaled by their fan-in, variances about 1."""
    rng = np.random.default_rng(seed)
    values = {}
    for name, shape in shapes.items():
        leaf = name.rpartition("/")[2]
        if leaf == "moving_variance":
            value = rng.uniform(0.3, 1.7, shape)
        elif leaf == "gamma":
            value = rng.uniform(0.4, 1.0, shape)
        elif leaf == "depthwise_weights":
            value = rng.normal(0, (2 / (shape[0] * shape[1])) ** 0.5, shape)
        elif len(shape) > 1:
            value = rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        values[name] = np.asarray(value, np.float32)
    return values


def write_tf1(prefix: Path, values: Mapping[str, np.ndarray]) -> Path:
    """A name-based checkpoint, as TF1's Saver writes it."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(values)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(values[name]) for name in names],
    )
    return prefix


def write_meta(prefix: Path, epsilons: Mapping[str, float]) -> None:
    """A MetaGraphDef beside a checkpoint, with one fused batch norm for each scope."""
    graph = tf.Graph()
    with graph.as_default():
        for scope, epsilon in epsilons.items():
            one = tf.ones([1])
            with tf.name_scope(f"{scope}/"):
                tf.raw_ops.FusedBatchNormV3(
                    x=tf.ones([1, 1, 1, 1]), scale=one, offset=one, mean=one, variance=one, epsilon=epsilon,
                    is_training=False, name="FusedBatchNormV3",
                )  # fmt: skip
    meta = meta_graph_pb2.MetaGraphDef(graph_def=graph.as_graph_def())
    Path(f"{prefix}.meta").write_bytes(meta.SerializeToString())


def write_frozen(path: Path, values: Mapping[str, np.ndarray]) -> Path:
    """A graph of constants, as freezing leaves variables."""
    graph = tf.Graph()
    with graph.as_default():
        for name, value in values.items():
            tf.constant(value, name=name)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def real_listing(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a real checkpoint, from the sample data."""
    tree: dict[str, Any] = json.loads((folder / "tfod" / "ckpt_names" / f"{name}.json").read_text())
    return {key: tuple(entry["shape"]) for key, entry in tree["variables"].items()}


def open_checkpoint(
    source: str | Path, root: Path, labels: Any = None, said: list[str] | None = None
) -> InitCheckpoint:
    """`open_init_checkpoint` in a folder for tests."""
    say = (said if said is not None else []).append
    return open_init_checkpoint(str(source), labels, root=root, downloads=root / "downloads", say=say)


@cache
def backbone_model(row: str) -> Any:
    """A row's backbone alone, as a model: built once, and written over by every test."""
    backbone = blank_target(DETECTORS[row]).model.backbone
    return SimpleNamespace(backbone=backbone, checkpoint_items={"backbone": backbone}, weights=backbone.weights)


@cache
def narrow_model() -> Any:
    """The whole narrow RetinaNet: built once, and written over by every test."""
    return small_model("retinanet_mobiledet_tiny")


def small_model(row: str, side: int = 64, **settings: Any) -> Any:
    """An untrained model of a row for three classes."""
    return build_model(experiment(row, input_size=[side, side], **settings))


@contextmanager
def served(folder: Path, handler: Callable[..., Any] = http.server.SimpleHTTPRequestHandler) -> Iterator[str]:
    """An HTTP server on this machine for a folder; gives its address."""
    with serving(partial(handler, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"
