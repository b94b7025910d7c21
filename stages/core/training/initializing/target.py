"""The model that weights are loaded into."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import tf_keras

from stages.core.detectors.backbone_model import build_backbone_model
from stages.core.detectors.build import ARCHITECTURES
from stages.core.detectors.ssdlite_backbone import build_ssd_backbone
from stages.core.detectors.variables import list_variables
from stages.core.tables.detectors import Detector, Family

PART_NAMES = {(Family.SSDLITE, "decoder"): "extra maps"}
"""Where a part of a Model Garden detector is called otherwise in the field."""
SMALL = 64
"""Pixels of a side: enough to build a backbone."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model and those of its variables that are to be loaded.

    Attributes:
      detector: Its row.
      model: A Model Garden detector with all its variables.
      parts: Its parts that are to be loaded, by their name in a checkpoint.
      variables: Path, e.g. `head/classifier/kernel`, to variable, of these parts.
      epsilons: What a batch norm adds to the variance, by the path of its variance.
      labels: Class id, from 1, to name, of the prepared data.
    """

    detector: Detector
    model: Any
    parts: Mapping[str, Any]
    variables: Mapping[str, Any]
    epsilons: Mapping[str, float]
    labels: Mapping[int, str]

    @property
    def paths(self) -> dict[int, str]:
        """`id` of each variable to its path."""
        return {id(variable): path for path, variable in self.variables.items()}


def make_target(detector: Detector, model: Any, modules: str | Sequence[str], labels: Mapping[int, str]) -> Target:
    """Lists what of a model is to be loaded. `modules` is `all`, or some of `backbone` and `decoder`."""
    items = {name: item for name, item in model.checkpoint_items.items() if item is not None}
    parts = items if modules == "all" else {name: items[name] for name in modules}
    variables: dict[str, Any] = {}
    for name, part in parts.items():
        variables |= list_variables(part, name)
    epsilons = {id(norm.moving_variance): float(norm.epsilon) for part in parts.values() for norm in _norms(part)}
    return Target(
        detector=detector,
        model=model,
        parts=parts,
        variables=variables,
        epsilons={path: epsilons[id(value)] for path, value in variables.items() if id(value) in epsilons},
        labels=labels,
    )


def blank_target(detector: Detector) -> Target:
    """The backbone alone of a row at its usual width, with random weights: to ask what a checkpoint fits."""
    config = ARCHITECTURES[detector.family](detector).task.model
    config.input_size = [SMALL, SMALL, 3]
    build = build_ssd_backbone if detector.family is Family.SSDLITE else build_backbone_model
    backbone = build(config)
    variables = list_variables(backbone, "backbone")
    parts, model = {"backbone": backbone}, SimpleNamespace(backbone=backbone)
    return Target(detector=detector, model=model, parts=parts, variables=variables, epsilons={}, labels={})


def list_convs_and_norms(backbone: Any) -> list[Any]:
    """Convolutions and batch norms of a backbone of Model Garden's mobile blocks, in the order of the computation.

    Only meaningful for backbones without branches that hold weights, such as MobileNetV2.
    """
    names = [f"_{kind}{number}" for number in range(3) for kind in ("conv", "norm")]
    layers = (getattr(block, name, None) for block in backbone.layers for name in names)
    return [layer for layer in layers if layer is not None]


def block_of(family: Family, path: str) -> str:
    """The part of a model that a path belongs to, as results show it: a one-stage head by what it predicts."""
    part, _, rest = path.partition("/")
    kind = re.match(r"_(class|cls|box)", rest)
    if part != "head" or kind is None:
        return PART_NAMES.get((family, part), part)
    return "head (box)" if kind[1] == "box" else "head (class)"


def _norms(part: Any) -> list[Any]:
    items = part if isinstance(part, list | tuple) else [part]
    layers = [layer for item in items for layer in item._flatten_layers()]
    # A head may keep batch norms for levels that the model does not have: they have no variables.
    return [layer for layer in layers if isinstance(layer, tf_keras.layers.BatchNormalization) and layer.built]
