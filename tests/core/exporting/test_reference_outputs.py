"""What `export` keeps of the float model's outputs, with a graph that only says how bright an image is."""

import numpy as np
import pytest
import tensorflow as tf

from stages.core.datasets.prepared import PreparedSplit, load_image, read_split
from stages.core.exporting.export import RAW_IMAGES, compute_reference
from stages.core.exporting.graph import DeploymentGraph, detection_outputs
from stages.core.interface import ImageInput, TensorOutput
from stages.core.subset import choose_subset
from tests.builders import write_split

ROWS, FOUND, SIDE = 3, 2, 4
SPEC = ImageInput(
    name="image", shape=(1, 32, 32, 3), dtype="float32", pad_value=(0, 0, 0), normalization="inside the graph"
)
MASKS = TensorOutput(name="detection_masks", shape=(1, ROWS, SIDE, SIDE), dtype="float32", meaning="")
RAW = TensorOutput(name="raw_scores", shape=(1, 1), dtype="float32", meaning="")


def brightness_graph(*raw_outputs: TensorOutput) -> DeploymentGraph:
    def detect(image: tf.Tensor) -> dict[str, tf.Tensor]:
        del image
        return {
            "detection_boxes": tf.ones([1, ROWS, 4]),
            "detection_scores": tf.ones([1, ROWS]),
            "detection_classes": tf.ones([1, ROWS]),
            "num_detections": tf.constant([float(FOUND)]),
            "detection_masks": tf.fill([1, ROWS, SIDE, SIDE], 0.3),
        }

    def raw_heads(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output.name: tf.reshape(tf.reduce_mean(image), [1, 1]) for output in raw_outputs}

    return DeploymentGraph(
        detect=detect,
        raw_heads=raw_heads if raw_outputs else None,
        outputs=(*detection_outputs(ROWS), MASKS),
        raw_outputs=raw_outputs,
        class_offset=1,
        method="",
    )


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> PreparedSplit:
    folder = tmp_path_factory.mktemp("prepared") / "val"
    write_split(folder, num_images=RAW_IMAGES + 24)
    return read_split(folder)


def test_raw_outputs_are_of_the_draw_that_slow_files_are_judged_on(split: PreparedSplit) -> None:
    reference = compute_reference(brightness_graph(RAW), split, SPEC)

    raw_ids = reference.raw_image_ids.tolist()
    assert raw_ids == sorted(choose_subset(split.by_id, RAW_IMAGES))
    assert set(raw_ids) < set(choose_subset(split.by_id, RAW_IMAGES + 4))
    brightness = [load_image(split.by_id[image_id].path).mean() for image_id in raw_ids]
    kept = reference.raw_outputs["raw_scores"][:, 0]
    assert np.corrcoef(brightness, kept)[0, 1] > 0.9, "each row is of its image"


def test_masks_are_kept_small_and_unused_rows_empty(split: PreparedSplit) -> None:
    reference = compute_reference(brightness_graph(), split, SPEC)

    masks = reference.outputs["detection_masks"]
    assert masks.dtype == np.float16
    assert (masks[:, :FOUND] > 0).all()
    for name in ("detection_boxes", "detection_scores", "detection_classes", "detection_masks"):
        assert not reference.outputs[name][:, FOUND:].any(), name
    assert reference.outputs["num_detections"].tolist() == [FOUND] * len(split.images)
    assert (reference.raw_image_ids.size, reference.raw_outputs) == (0, {})
