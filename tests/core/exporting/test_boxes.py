from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from official.vision.ops import box_ops

from stages.core.exporting.boxes import clip_to_input, decode_boxes, suppress_overlaps
from stages.core.exporting.tflite import convert_functions, save_functions
from stages.core.results.interface import SIGNATURE

pytestmark = pytest.mark.slow

SIZE = (96, 128)


def random_boxes(num: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 80, (num, 2))
    return np.concatenate([low, low + rng.uniform(4, 40, (num, 2))], 1).astype(np.float32)


def iou(box: np.ndarray, other: np.ndarray) -> float:
    side = np.maximum(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0)
    areas = [float(np.prod(b[2:] - b[:2])) for b in (box, other)]
    shared = float(np.prod(side))
    return shared / (areas[0] + areas[1] - shared)


def suppress_by_hand(
    boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, num: int, overlap: float, floor: float
) -> list[int]:
    """Greedy suppression in each group; equal scores in index order."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        rivals = [k for k in kept if groups[k] == groups[index]]
        if scores[index] > floor and all(iou(boxes[k], boxes[index]) < overlap for k in rivals):
            kept.append(int(index))
    return kept[:num]


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)], ids=["plain", "weighted"])
def test_decoding_equals_model_gardens(weights: tuple[float, ...]) -> None:
    anchors = random_boxes(50)
    encoded = np.random.default_rng(1).normal(0, 2, (50, 4)).astype(np.float32)
    encoded[0, 2] = 90.0  # exp() of this would not be finite
    expected = box_ops.clip_boxes(box_ops.decode_boxes(encoded, anchors, list(weights)), list(SIZE))
    np.testing.assert_allclose(
        clip_to_input(decode_boxes(encoded, tf.constant(anchors), weights), SIZE), expected, atol=1e-3
    )


@pytest.mark.parametrize("ties", [False, True], ids=["distinct_scores", "equal_scores"])
@pytest.mark.parametrize("num", [5, 200], ids=["fewer_than_remain", "more_than_remain"])
def test_suppression_equals_the_plain_algorithm_in_each_group(ties: bool, num: int) -> None:
    boxes, rng = random_boxes(80), np.random.default_rng(2)
    scores = rng.uniform(0, 1, 80).astype(np.float32)
    scores = np.round(scores, 1) if ties else scores
    groups = rng.integers(0, 3, 80).astype(np.float32)
    expected = suppress_by_hand(boxes, scores, groups, num, 0.4, 0.2)
    indices, count = suppress_overlaps(
        tf.constant(boxes),
        tf.constant(scores),
        tf.constant(groups),
        input_size=SIZE,
        max_outputs=num,
        iou_threshold=0.4,
        score_threshold=0.2,
    )
    assert int(count) == len(expected)
    assert indices.numpy()[: int(count)].tolist() == expected
    assert indices.shape == (num,)
    assert ((indices.numpy() >= 0) & (indices.numpy() < 80)).all()


def test_only_the_best_candidates_take_part() -> None:
    boxes, scores = random_boxes(60), np.random.default_rng(4).uniform(0, 1, 60).astype(np.float32)
    best = np.sort(np.argsort(-scores)[:20])
    asked = {"input_size": SIZE, "max_outputs": 30, "iou_threshold": 0.4, "score_threshold": 0.0}
    few, count = suppress_overlaps(tf.constant(boxes), tf.constant(scores), tf.zeros(60), max_candidates=20, **asked)
    expected, wanted = suppress_overlaps(tf.constant(boxes[best]), tf.constant(scores[best]), tf.zeros(20), **asked)
    assert int(count) == int(wanted)
    assert few.numpy()[: int(count)].tolist() == best[expected.numpy()[: int(count)]].tolist()


def test_boxes_without_area_are_returned_once_in_every_runtime(tmp_path: Path) -> None:
    """Boxes that lie outside are clipped to a line at the border; LiteRT's kernel alone returns it for ever."""
    inside, outside = random_boxes(20), random_boxes(10, seed=1) - np.float32(200)
    boxes = np.concatenate([outside, inside])
    scores = np.random.default_rng(5).permutation(np.linspace(0.5, 1, 30, dtype=np.float32))
    asked = {"input_size": SIZE, "max_outputs": 25, "iou_threshold": 0.4, "score_threshold": 0.0}

    def run(boxes: Any, scores: Any) -> dict[str, Any]:
        indices, count = suppress_overlaps(clip_to_input(boxes, SIZE), scores, tf.zeros(30), **asked)
        return {"indices": indices, "count": count}

    specs = [tf.TensorSpec(part.shape, tf.float32, name=name) for name, part in (("boxes", boxes), ("scores", scores))]
    function = tf.function(run, autograph=False).get_concrete_function(*specs)
    clipped = np.minimum(inside, [*SIZE, *SIZE])
    kept = [10 + index for index in suppress_by_hand(clipped, scores[10:], np.zeros(20), 20, 0.4, 0.0)]
    expected = sorted([*range(10), *kept], key=lambda index: -scores[index])[:25]

    interpreter = Interpreter(model_content=convert_functions({SIGNATURE: function}))
    save_functions({SIGNATURE: function}, tmp_path / "saved")
    compiled = ov.Core().compile_model(ov.convert_model(tmp_path / "saved"), "CPU")
    answers = {
        "TensorFlow": function(tf.constant(boxes), tf.constant(scores)),
        "LiteRT": interpreter.get_signature_runner(SIGNATURE)(boxes=boxes, scores=scores),
        "OpenVINO": {
            port.get_any_name(): value for port, value in compiled({"boxes": boxes, "scores": scores}).items()
        },
    }
    for runtime, found in answers.items():
        count = int(np.asarray(found["count"]))
        assert np.asarray(found["indices"])[:count].tolist() == expected, runtime
