"""The images on which a file is farthest from the float model: their outputs are kept while it runs."""

from collections.abc import Mapping

import numpy as np

from stages.core.processing.decode import drop_unused_rows
from stages.core.processing.detections import Detections
from stages.core.results.validation import MovedImage
from stages.core.validating.agreement import NUM_MOVED, order_of_moved, pair_detections, to_moved


class MovedImages:
    """Keeps the outputs of the 20 images that moved most so far: of a large split, all would not fit into memory."""

    def __init__(self, floats: Mapping[int, Detections], *, score_threshold: float) -> None:
        """Takes the float model's detections by image id; those below the threshold count on neither side."""
        self._floats, self._score_threshold = floats, score_threshold
        self._kept: list[tuple[MovedImage, dict[str, np.ndarray]]] = []

    def offer(self, image_id: int, detections: Detections, outputs: Mapping[str, np.ndarray]) -> None:
        """Keeps the image if it is among the 20; its outputs have the batch dimension."""
        reference = self._floats[image_id].above(self._score_threshold)
        moved = to_moved(image_id, pair_detections(reference, detections.above(self._score_threshold)))
        if len(self._kept) < NUM_MOVED or order_of_moved(moved) < order_of_moved(self._kept[-1][0]):
            self._kept.append((moved, drop_unused_rows(outputs)))
            self._kept.sort(key=lambda entry: order_of_moved(entry[0]))
            del self._kept[NUM_MOVED:]

    @property
    def outputs(self) -> dict[int, dict[str, np.ndarray]]:
        """By image id, batch dimension dropped."""
        return {moved.image_id: outputs for moved, outputs in self._kept}
