"""Which stored variable belongs to which of ours, for each kind of TensorFlow checkpoint."""

from collections.abc import Mapping
from typing import Any

from official.vision.modeling.decoders.fpn import FPN

from stages.core.base.errors import CheckpointError
from stages.core.detectors.tf1_names import ROOT, backbone_tf1_names, ssdlite_tf1_names, tf1_scope
from stages.core.detectors.variables import list_variables
from stages.core.tables.detectors import BACKBONES, DETECTORS, Family
from stages.core.training.initializing.object_graphs import match_objects, stored_keys, stored_roots, stored_top
from stages.core.training.initializing.pyramid_levels import match_pyramid
from stages.core.training.initializing.stored import StoredVariables
from stages.core.training.initializing.target import Target, list_convs_and_norms

TF1_BACKBONES = tuple(name for name in BACKBONES if name.startswith("Mobile"))
"""Of those in our table, the ones that the API's TF1 detectors have."""
FOREIGN_SCOPES = {
    "resnet_v1": "a ResNet v1, whose strides sit in other convolutions than those of maskrcnn_resnet50: its values "
    "would load, and compute something else",
    "InceptionResnetV2": "an Inception-ResNet v2, which no row has",
    "InceptionV2": "an Inception v2, which no row has",
    "InceptionV3": "an Inception v3, which no row has",
    "MobilenetV1": "a MobileNet v1, which no row has",
    "MobilenetV3": "a MobileNet v3, which no row has",
    "MobilenetEdgeTPU": "a MobileNetEdgeTPU, which no row has",
}
"""Part of a variable's name in the API's and slim's TF1 checkpoints to what they are, where no row has that."""
TF2_EXTRACTORS = ("_feature_extractor", "_feature_extractor_for_proposal_features")
STEM = "layer_with_weights-0/kernel"
FOREIGN_STEMS: Mapping[tuple[int, ...], str] = {
    (7, 7): FOREIGN_SCOPES["resnet_v1"],
    (3, 3): FOREIGN_SCOPES["InceptionResnetV2"],
}
"""Kernel of the first convolution of the API's two-stage detectors to what they are."""


def match_by_objects(stored: StoredVariables, target: Target) -> dict[str, str]:
    """Model Garden's checkpoints: paths are those of the model, but for a decoder, whose layers go by level."""
    paths, found = target.paths, dict[str, str]()
    for name, part in target.parts.items():
        for root in stored_roots(stored.structure, name):
            keys = match_objects(part, stored.structure, root)
            if name == "decoder":
                keys = _match_decoder(part, stored, root) if isinstance(part, FPN) else keys
            for variable, key in keys.items():
                if key in stored.shapes:
                    found.setdefault(paths[variable], key)
    return found


def match_by_tf1_names(stored: StoredVariables, target: Target) -> dict[str, str]:
    """TF1 checkpoints and frozen graphs of the API, and slim's classifiers: by the names of their scopes.

    Raises:
      CheckpointError: if they are of a backbone that the row does not have.
    """
    row = target.detector
    if row.backbone not in backbones_by_scope(stored):
        raise CheckpointError(f"{stored.path}: {_whose_names(stored)}; {row.name} cannot start from it")
    # A target may be a backbone alone, to ask what fits.
    is_whole = row.family is Family.SSDLITE and "head" in target.parts
    names = (ssdlite_tf1_names if is_whole else backbone_tf1_names)(
        target.model if is_whole else target.model.backbone, row.backbone
    )
    prefix = f"{ROOT}/" if any(name.startswith(f"{ROOT}/") for name in stored.shapes) else ""
    names = {
        path: prefix + name.removeprefix(f"{ROOT}/") if name.startswith(ROOT) else name for path, name in names.items()
    }
    return {path: name for path, name in names.items() if path in target.variables and name in stored.shapes}


def match_by_tf2_extractor(stored: StoredVariables, target: Target) -> dict[str, str]:
    """The API's TF2 checkpoints: a MobileNetV2's layers are a chain, in the order that ours has.

    Raises:
      CheckpointError: for every other feature extractor, with the reason.
    """
    for root in (root for name in TF2_EXTRACTORS for root in stored_roots(stored.structure, name)):
        keys = stored_keys(stored.structure, root)
        stem = next((stored.shapes[keys[object_path]] for object_path in keys if object_path.endswith(STEM)), (0, 0))
        prefix = next((object_path.removesuffix(STEM) for object_path in keys if object_path.endswith(STEM)), "")
        if target.detector.backbone == "MobileNetV2":
            found = _match_chain_of_layers(target, keys, stored.shapes, prefix)
            if found:
                return found
        if "_feature_extractor_for_proposal_features" in _names_below_model(stored):
            what = FOREIGN_STEMS.get(stem[:2], "of a feature extractor that no row has")
            raise CheckpointError(
                f"{stored.path}: the feature extractor of this two-stage detector is {what}; nothing was loaded. "
                "Published for maskrcnn_resnet50: zoo:resnet50_imagenet, zoo:retinanet_resnet50fpn"
            )
    raise CheckpointError(
        f"{stored.path}: its feature extractor has no counterpart in {target.detector.name} (of the API's TF2 models, "
        f"MobileNetV2's fits {', '.join(rows_with_backbone('MobileNetV2'))})"
    )


def backbones_by_scope(stored: StoredVariables) -> list[str]:
    """Backbones whose scope is in a TF1 checkpoint."""
    scopes = {part for name in stored.shapes for part in name.split("/")[:2]}
    return [backbone for backbone in TF1_BACKBONES if tf1_scope(backbone) in scopes]


def rows_with_backbone(backbone: str) -> list[str]:
    """Names of the detectors, but for the narrow ones for tests, that have a backbone."""
    return [name for name, row in DETECTORS.items() if row.backbone == backbone and not row.tiny]


def describe_top(stored: StoredVariables) -> str:
    """What a checkpoint holds, for a message."""
    if stored.structure is not None and hasattr(stored.structure, "nodes"):
        return f"it holds {', '.join(stored_top(stored.structure))} at its top"
    tops = sorted({name.partition("/")[0] for name in stored.shapes})
    return f"it holds {', '.join(tops[:8])}" + (", ..." if len(tops) > 8 else "")


def _match_decoder(decoder: Any, stored: StoredVariables, root: int) -> dict[int, str]:
    keys = stored_keys(stored.structure, root)
    keys = {
        object_path: key
        for object_path, key in keys.items()
        if key in stored.shapes and object_path.startswith("layer_with_weights")
    }
    object_paths = match_pyramid(decoder, {object_path: stored.shapes[key] for object_path, key in keys.items()})
    if object_paths is None:
        return {}
    variables = {path.lstrip("/"): variable for path, variable in list_variables(decoder, "").items()}
    return {id(variables[ours]): keys[theirs] for ours, theirs in object_paths.items()}


def _match_chain_of_layers(
    target: Target, keys: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], prefix: str
) -> dict[str, str]:
    """Every variable of a backbone without branches, or none."""
    backbone, paths, found = target.parts.get("backbone"), target.paths, dict[str, str]()
    for index, layer in enumerate(list_convs_and_norms(backbone) if backbone is not None else ()):
        for variable in layer.weights:
            leaf = str(variable.name).rpartition("/")[2].partition(":")[0]
            key = keys.get(f"{prefix}layer_with_weights-{index}/{leaf}")
            if key is None or shapes[key] != tuple(variable.shape):
                return {}
            found[paths[id(variable)]] = key
    return found


def _whose_names(stored: StoredVariables) -> str:
    """What a TF1 checkpoint is, and which rows it fits."""
    for backbone in backbones_by_scope(stored):
        return f"its backbone is a {backbone}, which fits {', '.join(rows_with_backbone(backbone))}"
    for scope, what in FOREIGN_SCOPES.items():
        if any(scope in name for name in stored.shapes):
            return f"its backbone is {what}"
    return f"no backbone that is known ({describe_top(stored)})"


def _names_below_model(stored: StoredVariables) -> set[str]:
    return {key.split("/")[1] for key in stored.shapes if key.startswith("model/")}
