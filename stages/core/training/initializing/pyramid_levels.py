"""An FPN of other levels than ours: its layers are found by their level, not by their number in the checkpoint.

A checkpoint numbers layers (`layer_with_weights-4`). In a pyramid of other levels the same number is another level's
layer, often of the same shape: loaded by number, it would be wrong without a sign.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from official.vision.modeling.decoders.fpn import FPN

from stages.core.detectors.variables import list_variables

MIN_LEVELS, MAX_LEVELS = range(2, 5), range(5, 8)
_PLACE = re.compile(r"(layer_with_weights-\d+)/(.+)")


def match_pyramid(decoder: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str] | None:
    """Stored place for each place in our decoder, by level and use of the layer.

    Args:
      decoder: Model Garden's FPN.
      shapes: Of what the checkpoint has below its decoder, by place, e.g. `layer_with_weights-0/kernel`.

    Returns:
      None if the checkpoint's decoder is no FPN of ours in kind and width. Places of levels that it lacks are left out.
    """
    ours = _layer_places(decoder)
    for candidate in _pyramids(decoder):
        stored = list_variables(candidate, "")
        if {path.lstrip("/"): tuple(value.shape) for path, value in stored.items()} == dict(shapes):
            theirs = _layer_places(candidate)
            return {
                f"{place}/{leaf}": f"{theirs[name]}/{leaf}"
                for name, place in ours.items()
                if name in theirs
                for leaf in _leaves(place, decoder)
            }
    return None


def _pyramids(decoder: Any) -> Iterator[Any]:
    """FPNs like ours, of every range of levels: ours first."""
    config = decoder.get_config()
    own = (config["min_level"], config["max_level"])
    others = [(low, high) for low in MIN_LEVELS for high in MAX_LEVELS if (low, high) != own]
    for low, high in (own, *others):
        yield FPN(**{**config, "min_level": low, "max_level": high})


def _layer_places(decoder: Any) -> dict[str, str]:
    """Name of each layer, e.g. `lateral_3`, to its place in a checkpoint."""
    layers = [layer for layer in decoder.layers if layer.weights]
    return {layer.name: f"layer_with_weights-{index}" for index, layer in enumerate(layers)}


def _leaves(place: str, decoder: Any) -> list[str]:
    found = (_PLACE.fullmatch(path.lstrip("/")) for path in list_variables(decoder, ""))
    return [match[2] for match in found if match and match[1] == place]
