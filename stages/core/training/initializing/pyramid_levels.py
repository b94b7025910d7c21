"""An FPN of other levels than ours: its layers are found by their level, not by their number in the checkpoint.

A checkpoint numbers layers (`layer_with_weights-4`). In a pyramid of other levels the same number is another level's
layer, often of the same shape: loaded by number, it would be wrong without a sign.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from official.vision.modeling.decoders.fpn import FPN

from stages.core.detectors.variables import list_variables

MIN_LEVELS, MAX_LEVELS = range(2, 5), range(5, 8)
_PATH = re.compile(r"(layer_with_weights-\d+)/(.+)")


def match_pyramid(decoder: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str] | None:
    """Stored path for each path in our decoder, by level and use of the layer.

    Args:
      decoder: Model Garden's FPN.
      shapes: Of what the checkpoint has below its decoder, by path, e.g. `layer_with_weights-0/kernel`.

    Returns:
      None if the checkpoint's decoder is no FPN of ours in kind and width. Paths of levels that it lacks are left out.
    """
    ours = _layer_paths(decoder)
    num_layers = len({object_path.partition("/")[0] for object_path in shapes})
    for candidate in _pyramids(decoder, num_layers):
        stored = list_variables(candidate, "")
        if {path.lstrip("/"): tuple(value.shape) for path, value in stored.items()} == dict(shapes):
            theirs = _layer_paths(candidate)
            return {
                f"{object_path}/{leaf}": f"{theirs[name]}/{leaf}"
                for name, object_path in ours.items()
                if name in theirs
                for leaf in _leaves(object_path, decoder)
            }
    return None


def _pyramids(decoder: Any, num_layers: int) -> Iterator[Any]:
    """FPNs like ours with so many layers, of every range of levels."""
    config = decoder.get_config()
    last = int(max(config["input_specs"]))
    for low, high in itertools.product(MIN_LEVELS, MAX_LEVELS):
        from_backbone = min(last, high) - low + 1
        # A lateral and a 3x3 convolution for each level of the backbone, one for each coarser one, a norm for each.
        if 2 * from_backbone + max(0, high - last) + high - low + 1 == num_layers:
            yield FPN(**{**config, "min_level": low, "max_level": high})


def _layer_paths(decoder: Any) -> dict[str, str]:
    """Name of each layer, e.g. `lateral_3`, to its path in a checkpoint."""
    layers = [layer for layer in decoder.layers if layer.weights]
    return {layer.name: f"layer_with_weights-{index}" for index, layer in enumerate(layers)}


def _leaves(object_path: str, decoder: Any) -> list[str]:
    found = (_PATH.fullmatch(path.lstrip("/")) for path in list_variables(decoder, ""))
    return [match[2] for match in found if match and match[1] == object_path]
