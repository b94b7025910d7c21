"""What `reference` keeps of the float model's outputs, with a model that only says how bright an image is."""

from dataclasses import replace

import numpy as np
import pytest

from stages.core.datasets.prepared import PreparedSplit, load_image, read_split
from stages.core.datasets.subset import choose_subset
from stages.core.referencing.reference import RAW_IMAGES, FloatModel, run_split
from stages.core.results.interface import ImageInput, Interface, TensorOutput
from tests.builders import interface, write_split

pytestmark = pytest.mark.slow

ROWS, FOUND, SIDE = 3, 2, 4
SPEC = ImageInput(
    name="image", shape=(1, 32, 32, 3), dtype="float32", pad_value=(0, 0, 0), normalization="inside the graph"
)
MASKS = TensorOutput(name="detection_masks", shape=(1, ROWS, SIDE, SIDE), dtype="float32", meaning="")
RAW = TensorOutput(name="raw_scores", shape=(1, 1), dtype="float32", meaning="")


INTERFACE = interface("maskrcnn_mobiledet", "float32")


def brightness_model(*raw_outputs: TensorOutput) -> tuple[FloatModel, Interface]:
    """A float model that finds the same in every image, and whose raw outputs say how bright it is."""
    common = tuple(
        TensorOutput(name=name, shape=(1,), dtype="float32", meaning="")
        for name in ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
    )

    def run(image: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        outputs = {
            "detection_boxes": np.ones((1, ROWS, 4), np.float32),
            "detection_scores": np.ones((1, ROWS), np.float32),
            "detection_classes": np.ones((1, ROWS), np.float32),
            "num_detections": np.asarray([FOUND], np.float32),
            "detection_masks": np.full((1, ROWS, SIDE, SIDE), 0.3, np.float32),
        }
        return outputs, {output.name: image.mean().reshape(1, 1) for output in raw_outputs}

    return run, replace(INTERFACE, input=SPEC, outputs=(*common, MASKS), raw_outputs=raw_outputs)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> PreparedSplit:
    folder = tmp_path_factory.mktemp("prepared") / "val"
    write_split(folder, num_images=RAW_IMAGES + 24)
    return read_split(folder)


def with_split(split: PreparedSplit, *raw_outputs: TensorOutput) -> tuple[FloatModel, PreparedSplit, Interface]:
    run, described = brightness_model(*raw_outputs)
    return run, split, described


def test_raw_outputs_are_of_the_draw_that_slow_files_are_judged_on(split: PreparedSplit) -> None:
    reference = run_split(*with_split(split, RAW))

    raw_ids = reference.raw_image_ids.tolist()
    assert raw_ids == sorted(choose_subset(split.by_id, RAW_IMAGES))
    assert set(raw_ids) < set(choose_subset(split.by_id, RAW_IMAGES + 4))
    brightness = [load_image(split.by_id[image_id].path).mean() for image_id in raw_ids]
    kept = reference.raw_outputs["raw_scores"][:, 0]
    assert np.corrcoef(brightness, kept)[0, 1] > 0.9, "each row is of its image"


def test_masks_are_kept_small_and_unused_rows_empty(split: PreparedSplit) -> None:
    reference = run_split(*with_split(split))

    masks = reference.outputs["detection_masks"]
    assert masks.dtype == np.float16
    assert (masks[:, :FOUND] > 0).all()
    for name in ("detection_boxes", "detection_scores", "detection_classes", "detection_masks"):
        assert not reference.outputs[name][:, FOUND:].any(), name
    assert reference.outputs["num_detections"].tolist() == [FOUND] * len(split.images)
    assert (reference.raw_image_ids.size, reference.raw_outputs) == (0, {})
