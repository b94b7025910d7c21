"""What a model says of a split: the converted file through its runner, the float model from its stored outputs."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stages.core.datasets.prepared import PreparedImage, PreparedSplit, load_image
from stages.core.datasets.subset import choose_subset
from stages.core.processing.decode import drop_unused_rows, outputs_to_detections
from stages.core.processing.detections import Detections
from stages.core.processing.preprocess import place_image
from stages.core.processing.stored_outputs import StoredOutputs
from stages.core.results.interface import Interface
from stages.core.running.runner import Runner
from stages.core.validating.coco_ap import CocoResults
from stages.core.validating.moved_images import MovedImages

TRIAL_IMAGES = 4
"""Images that are timed to project the whole split; the first one, which also warms up, does not count."""


@dataclass(frozen=True)
class Gathered:
    """What one model said of the evaluated images.

    Attributes:
      results: For the evaluator.
      detections: By image id, without masks.
      outputs: The graph's outputs on the images that the report may show, batch dimension dropped, by image id.
      raw_outputs: On the images whose raw outputs the float model's reference holds, by image id.
    """

    results: CocoResults
    detections: dict[int, Detections] = field(default_factory=dict)
    outputs: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    raw_outputs: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    def add(self, image_id: int, detections: Detections) -> None:
        self.results.add(image_id, detections)
        self.detections[image_id] = replace(detections, masks=None)


def choose_evaluated(
    runner: Runner, split: PreparedSplit, *, max_seconds: float, subset_images: int
) -> tuple[tuple[PreparedImage, ...], str]:
    """All images of the split, or the fixed subset where all would take too long.

    Returns:
      Images in id order, and why they are not all (empty when they are).
    """
    seconds = []
    for image in split.images[:TRIAL_IMAGES]:
        start = time.perf_counter()
        runner.run(load_image(image.path))
        seconds.append(time.perf_counter() - start)
    per_image = float(np.median(seconds[1:] or seconds))
    projected = per_image * len(split.images)
    if projected <= max_seconds or subset_images >= len(split.images):
        return split.images, ""
    chosen = sorted(choose_subset(split.by_id, subset_images))
    why = (
        f"{per_image:.2f} s an image: all {len(split.images)} would take {projected:.0f} s, more than "
        f"validate.max_seconds ({max_seconds:g}); evaluated on the fixed draw of {len(chosen)}"
    )
    return tuple(split.by_id[image_id] for image_id in chosen), why


def run_images(
    runner: Runner,
    images: Iterable[PreparedImage],
    *,
    keep_ids: Iterable[int],
    raw_ids: Iterable[int],
    moved: MovedImages,
) -> Gathered:
    """Runs the file; keeps its outputs on `keep_ids` and on what `moved` most, and its raw outputs on `raw_ids`."""
    gathered = Gathered(CocoResults(with_masks=runner.interface.has_masks))
    keep_outputs, keep_raw = set(keep_ids), set(raw_ids)
    for image in images:
        found = runner.run(load_image(image.path))
        gathered.add(image.image_id, found)
        moved.offer(image.image_id, found, runner.outputs)
        if image.image_id in keep_outputs:
            gathered.outputs[image.image_id] = drop_unused_rows(runner.outputs)
        if image.image_id in keep_raw:
            gathered.raw_outputs[image.image_id] = dict(runner.raw_outputs)
    gathered.outputs.update(moved.outputs)
    return gathered


def decode_reference(reference: StoredOutputs, interface: Interface, images: Iterable[PreparedImage]) -> Gathered:
    """The float model's stored outputs through the same decoding as the file's."""
    gathered = Gathered(CocoResults(with_masks=interface.has_masks))
    for image in images:
        placement = place_image(image.size, interface.input)
        outputs = reference.outputs_of(image.image_id)
        gathered.add(image.image_id, outputs_to_detections(outputs, interface, placement))
    for index, image_id in enumerate(reference.raw_image_ids.tolist()):
        gathered.raw_outputs[image_id] = {name: array[index] for name, array in reference.raw_outputs.items()}
    return gathered


def stack_outputs(split: str, outputs: Mapping[int, Mapping[str, np.ndarray]]) -> StoredOutputs:
    """Outputs of some images, by image id, without raw outputs."""
    image_ids = sorted(outputs)
    names = outputs[image_ids[0]].keys() if image_ids else ()
    return StoredOutputs(
        split=split,
        image_ids=np.asarray(image_ids, np.int64),
        outputs={name: np.stack([outputs[image_id][name] for image_id in image_ids]) for name in names},
        raw_image_ids=np.empty(0, np.int64),
        raw_outputs={},
    )
