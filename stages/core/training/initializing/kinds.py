"""THE TABLE of checkpoint kinds: how each is recognised, opened and matched with a model."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import CheckpointError
from stages.core.tables.detectors import BACKBONES, IMAGENET, SIGNED, PixelScaling
from stages.core.training.initializing.keras_files import match_keras, open_keras
from stages.core.training.initializing.matching import (
    backbones_by_scope,
    match_by_objects,
    match_by_tf1_names,
    match_by_tf2_extractor,
)
from stages.core.training.initializing.object_graphs import OBJECT_GRAPH, open_object_based, stored_top
from stages.core.training.initializing.stored import CheckpointFile, StoredVariables, damaged_checkpoint
from stages.core.training.initializing.target import Target
from stages.core.training.initializing.tf1_files import open_frozen_graph, open_name_based

PLAIN_EPSILON = 0.001
"""Of batch norms in Model Garden's detectors, in the API's configurations, and in Keras."""
CLASSIFIER_EPSILONS = {"resnet50": 1e-5}
"""Of Model Garden's ImageNet recipes, by backbone, where it is another."""


@dataclass(frozen=True, kw_only=True)
class CheckpointKind:
    """One kind of published weights.

    Attributes:
      name: What messages, result.json and MLflow call it.
      recognise: Whether a path, of a file or the prefix of a TensorFlow checkpoint, is of this kind.
      open: Lists the variables.
      match: Gives the stored name for each path of the target that has one.
      backbones: Backbones of our table that it may have, to say what it fits.
      epsilon: What its batch norms added to the variance, by path, where nothing nearer says so.
      pixels: Pre-processing that its weights expect, where nothing nearer says so; None: not known.
    """

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[[Path], StoredVariables]
    match: Callable[[StoredVariables, Target], dict[str, str]]
    backbones: Callable[[StoredVariables], Collection[str]]
    epsilon: Callable[[Target, str], float]
    pixels: PixelScaling | None


def _index_entries(path: Path) -> set[str] | None:
    """Names in a TensorFlow checkpoint; None for a file of another kind."""
    if not path.with_name(f"{path.name}.index").is_file():
        return None
    try:
        return set(CheckpointFile(path).shapes())
    except Exception as error:  # plain RuntimeError and various tf.errors
        raise damaged_checkpoint(path, str(error)) from None


def _is_name_based(path: Path) -> bool:
    entries = _index_entries(path)
    return entries is not None and OBJECT_GRAPH not in entries


def _is_object_based(path: Path) -> bool:
    return OBJECT_GRAPH in (_index_entries(path) or ())


def _is_tf2_of_the_api(path: Path) -> bool:
    entries = _index_entries(path) or set()
    return OBJECT_GRAPH in entries and any(name.startswith("model/_feature_extractor") for name in entries)


def _is_classifier(path: Path) -> bool:
    if not _is_object_based(path):
        return False
    top = set(stored_top(open_object_based(path).structure))
    return "backbone" in top and not top & {"decoder", "head", "rpn_head"}


def _is_frozen_graph(path: Path) -> bool:
    return path.suffix == ".pb"


def _is_keras(path: Path) -> bool:
    return path.suffix in (".h5", ".hdf5", ".keras")


def _any_backbone(stored: StoredVariables) -> Collection[str]:
    return BACKBONES


def _plain(target: Target, path: str) -> float:
    return PLAIN_EPSILON


def _of_the_api(target: Target, path: str) -> float:
    return target.detector.norm_epsilon if path.startswith("backbone/") else PLAIN_EPSILON


def _of_classifiers(target: Target, path: str) -> float:
    return CLASSIFIER_EPSILONS.get(target.detector.backbone, PLAIN_EPSILON)


_ROWS = (
    CheckpointKind(
        name="Object Detection API TF2 checkpoint",
        recognise=_is_tf2_of_the_api,
        open=open_object_based,
        match=match_by_tf2_extractor,
        backbones=_any_backbone,
        epsilon=_plain,
        pixels=SIGNED,
    ),
    CheckpointKind(
        name="Model Garden classification checkpoint",
        recognise=_is_classifier,
        open=open_object_based,
        match=match_by_objects,
        backbones=_any_backbone,
        epsilon=_of_classifiers,
        pixels=IMAGENET,
    ),
    CheckpointKind(
        name="Model Garden TF2 checkpoint",
        recognise=_is_object_based,
        open=open_object_based,
        match=match_by_objects,
        backbones=_any_backbone,
        epsilon=_plain,
        pixels=IMAGENET,
    ),
    CheckpointKind(
        name="Object Detection API TF1 checkpoint",
        recognise=_is_name_based,
        open=open_name_based,
        match=match_by_tf1_names,
        backbones=backbones_by_scope,
        epsilon=_of_the_api,
        pixels=SIGNED,
    ),
    CheckpointKind(
        name="TF1 frozen graph",
        recognise=_is_frozen_graph,
        open=open_frozen_graph,
        match=match_by_tf1_names,
        backbones=backbones_by_scope,
        epsilon=_of_the_api,
        pixels=SIGNED,
    ),
    CheckpointKind(
        name="Keras weights",
        recognise=_is_keras,
        open=open_keras,
        match=match_keras,
        backbones=_any_backbone,
        epsilon=_plain,
        pixels=None,
    ),
)

CHECKPOINT_KINDS: dict[str, CheckpointKind] = {row.name: row for row in _ROWS}
"""Asked in this order: the first that recognises a checkpoint has it."""


def recognise_kind(path: Path) -> CheckpointKind:
    """The kind of a checkpoint.

    Raises:
      CheckpointError: if it is of none, or its index is damaged.
    """
    for kind in CHECKPOINT_KINDS.values():
        if kind.recognise(path):
            return kind
    raise CheckpointError(f"{path}: of no kind that is known ({', '.join(CHECKPOINT_KINDS)})")
