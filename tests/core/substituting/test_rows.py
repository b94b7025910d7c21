"""Each substitution on one op: equal to TensorFlow's kernel, in TensorFlow and in LiteRT's builtins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.exporting.tflite import convert_functions
from stages.core.results.interface import SIGNATURE
from stages.core.substituting.frozen import freeze_function
from stages.core.substituting.substitute import Substituted, substitute

pytestmark = pytest.mark.slow

Inputs = dict[str, np.ndarray]
RNG = np.random.default_rng(3)
SAMPLES = 6


def draw_boxes(*shape: int) -> np.ndarray:
    """float32 [*shape, 4]; some reach beyond the image, one covers it, one is turned over, one is empty."""
    low, side = RNG.uniform(-0.1, 0.9, (*shape, 2)), RNG.uniform(0.05, 0.6, (*shape, 2))
    boxes = np.concatenate([low, low + side], axis=-1)
    flat = boxes.reshape(-1, 4)
    flat[0], flat[1], flat[2] = (0, 0, 1, 1), flat[1][[2, 3, 0, 1]], (0.5, 0.5, 0.5, 0.5)
    return boxes.astype(np.float32)


def draw_scores(*shape: int) -> np.ndarray:
    """float32 0..1 in steps, so that many are equal."""
    return RNG.uniform(0, 1, shape).round(1).astype(np.float32)


def draw_image(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def crop(method: str, side: tuple[int, int]) -> Callable[..., dict[str, Any]]:
    return lambda image, boxes, indices: {
        "crops": tf.image.crop_and_resize(image, boxes, indices, side, method=method, extrapolation_value=-2.0)
    }


def crop_inputs() -> Inputs:
    return {
        "image": draw_image(2, 17, 23, 3),
        "boxes": draw_boxes(30),
        "indices": RNG.integers(0, 2, 30).astype(np.int32),
    }


def combined(shared: bool, clip: bool, per_class: bool) -> tuple[Callable[..., dict[str, Any]], Callable[[], Inputs]]:
    def run(boxes: Any, scores: Any) -> dict[str, Any]:
        found = tf.image.combined_non_max_suppression(
            boxes, scores, 10, 25, 0.5, 0.3, pad_per_class=per_class, clip_boxes=clip
        )
        return dict(zip(("boxes", "scores", "classes", "number"), found, strict=True))

    # Equal scores of different classes come in any order in TensorFlow's kernel.
    def draw() -> Inputs:
        scores = RNG.permutation(2 * 40 * 3).reshape(2, 40, 3) / 240
        return {"boxes": draw_boxes(2, 40, 1 if shared else 3), "scores": scores.astype(np.float32)}

    return run, draw


def suppress(version: str) -> Callable[..., dict[str, Any]]:
    def run(boxes: Any, scores: Any) -> dict[str, Any]:
        iou, score, most = 0.5, 0.25, 20
        if version == "1":
            return {
                "kept": tf.raw_ops.NonMaxSuppression(
                    boxes=boxes, scores=scores, max_output_size=most, iou_threshold=iou
                )
            }
        if version == "2":
            return {
                "kept": tf.raw_ops.NonMaxSuppressionV2(
                    boxes=boxes, scores=scores, max_output_size=most, iou_threshold=iou
                )
            }
        rest = {
            "boxes": boxes,
            "scores": scores,
            "max_output_size": most,
            "iou_threshold": iou,
            "score_threshold": score,
        }
        if version == "3":
            kept = tf.raw_ops.NonMaxSuppressionV3(**rest)
            padded = tf.pad(tf.gather(boxes, kept), [[0, most - tf.shape(kept)[0]], [0, 0]])
            return {"kept": kept, "boxes": padded}
        if version == "4":
            kept, number = tf.raw_ops.NonMaxSuppressionV4(**rest, pad_to_max_output_size=True)
            return {"kept": kept, "number": number}
        sigma = 0.5 if version == "5 soft" else 0.0
        kept, rated, number = tf.raw_ops.NonMaxSuppressionV5(**rest, soft_nms_sigma=sigma)
        return {"kept": kept, "rated": rated, "number": number}

    return run


def suppress_inputs() -> Inputs:
    return {"boxes": draw_boxes(60), "scores": draw_scores(60)}


def soft_inputs() -> Inputs:
    return {"boxes": draw_boxes(30), "scores": (RNG.permutation(30) / 30).astype(np.float32)}


def combine(kind: str) -> Callable[..., dict[str, Any]]:
    function = {"union": tf.sets.union, "intersection": tf.sets.intersection}.get(kind)

    def run(first: Any, second: Any) -> dict[str, Any]:
        one, other = (tf.where(value > 0.3)[:, 0][tf.newaxis] for value in (first, second))
        found = function(one, other) if function else tf.sets.difference(one, other, aminusb=kind == "a-b")
        return {"set": tf.sparse.to_dense(found)[0]}

    return run


def two_lists() -> Inputs:
    return {"first": draw_image(40), "second": draw_image(40)}


def find_unique(values: Any) -> dict[str, Any]:
    found, indices = tf.unique(tf.argmax(values, axis=1))
    return {"values": found, "indices": indices}


def map_known(values: Any) -> dict[str, Any]:
    return {"rows": tf.map_fn(lambda row: tf.reduce_sum(row) * row, values)}


def map_unknown(values: Any) -> dict[str, Any]:
    """A map over a list whose length the image decides, with lists inside."""

    def work(number: Any) -> Any:
        found = tf.where(values > tf.cast(number, tf.float32) - 2.0)[:5, 0]
        found = tf.pad(found, [[0, 5 - tf.shape(found)[0]]], constant_values=-1)
        found.set_shape([5])
        return found

    numbers = tf.unique(tf.argmax(tf.reshape(values, [-1, 4]), axis=1))[0]
    return {"rows": tf.map_fn(work, numbers, fn_output_signature=tf.int64)}


def while_loop(values: Any) -> dict[str, Any]:
    return {"sum": tf.while_loop(lambda i, _: i < 4, lambda i, x: (i + 1, x * 0.5 + 1.0), (0, values))[1]}


def concat_lists(values: Any) -> dict[str, Any]:
    parts = [tf.gather(values, tf.where(values > bound)[:, 0]) for bound in (0.5, -0.5, 5.0)]
    joined = tf.concat(parts, axis=0)
    order = tf.nn.top_k(joined, k=tf.shape(joined)[0]).indices[::-1]
    return {"joined": joined, "sorted": tf.gather(joined, order), "sum": tf.reduce_sum(joined)}


def reshape_by_shape(image: Any) -> dict[str, Any]:
    shape = tf.shape(image)
    flat = tf.reshape(image, [shape[0], shape[1] * shape[2], -1])
    return {"flat": flat, "back": tf.reshape(flat, tf.concat([shape[:3], [-1]], axis=0))}


def resize(name: str, dtype: Any = tf.float32, **options: bool) -> Callable[..., dict[str, Any]]:
    function = getattr(tf.raw_ops, name)
    return lambda image: {"image": function(images=tf.cast(image * 50.0, dtype), size=[9, 31], **options)}


def one(draw: Callable[..., np.ndarray], name: str, *shape: int) -> Callable[[], Inputs]:
    return lambda: {name: draw(*shape)}


@dataclass(frozen=True)
class Case:
    """One op in a graph of its own.

    Attributes:
      name: Of the case; op: what must be reported as replaced, empty if nothing.
      run: The graph; draw: its inputs.
      tolerance: Of floats, in TensorFlow; in_tflite: in LiteRT, None where its kernel finds other boxes.
    """

    name: str
    op: str
    run: Callable[..., dict[str, Any]]
    draw: Callable[[], Inputs]
    tolerance: float = 0.0
    in_tflite: float | None = 1e-5


IMAGE = one(draw_image, "image", 2, 17, 23, 3)
CASES = [
    *(
        Case(f"crop {method} {side}", "CropAndResize", crop(method, side), crop_inputs)
        for method in ("bilinear", "nearest")
        for side in ((5, 7), (1, 1))
    ),
    *(
        Case(f"combined {flags}", "CombinedNonMaxSuppression", *combined(*flags))
        for flags in ((True, True, False), (False, False, True), (False, True, False))
    ),
    *(
        Case(
            f"suppression {version}",
            f"NonMaxSuppression{'' if version == '1' else 'V' + version}",
            suppress(version),
            suppress_inputs,
        )
        for version in "12345"
    ),
    Case("suppression 5 soft", "NonMaxSuppressionV5", suppress("5 soft"), soft_inputs, tolerance=1e-6, in_tflite=None),
    *(
        Case(f"set {kind}", "DenseToDenseSetOperation", combine(kind), two_lists)
        for kind in ("intersection", "union", "a-b", "b-a")
    ),
    Case("unique", "Unique", find_unique, one(draw_image, "values", 40, 5)),
    Case("map of a known length", "TensorListStack", map_known, one(draw_image, "values", 6, 4)),
    Case("map of an unknown length", "TensorListStack", map_unknown, one(draw_image, "values", 40)),
    Case("loop of a known length", "StatelessWhile", while_loop, one(draw_image, "values", 6)),
    Case("lists one after the other", "Where", concat_lists, one(draw_image, "values", 40), tolerance=1e-5),
    Case("reshape by shape", "", reshape_by_shape, IMAGE),
    Case(
        "batched gather",
        "GatherV2 (batched)",
        lambda image, indices: {"rows": tf.gather(image, indices, batch_dims=1)},
        lambda: {"image": draw_image(2, 7, 3), "indices": RNG.integers(0, 7, (2, 5)).astype(np.int32)},
    ),
    Case(
        "batched gather along another axis",
        "GatherV2 (batched)",
        lambda image, indices: {"rows": tf.gather(image, indices, axis=3, batch_dims=2), "indices": indices},
        lambda: {"image": draw_image(2, 7, 3, 5), "indices": RNG.integers(0, 5, (2, 7)).astype(np.int32)},
    ),
    *(
        Case(
            f"{name} {options}",
            name,
            resize(name, **options),
            IMAGE,
            tolerance=5e-4,
            in_tflite=5e-4,
        )
        for name in ("ResizeBicubic", "ResizeArea")
        for options in ({"align_corners": True}, {"align_corners": False})
    ),
    Case(
        "ResizeBicubic half-pixel",
        "ResizeBicubic",
        resize("ResizeBicubic", half_pixel_centers=True),
        IMAGE,
        tolerance=5e-4,
        in_tflite=5e-4,
    ),
    *(
        Case(
            f"ResizeBilinear of integers {options}",
            "ResizeBilinear",
            resize("ResizeBilinear", tf.int32, **options),
            IMAGE,
            tolerance=5e-4,
            in_tflite=5e-4,
        )
        for options in ({"align_corners": True}, {"half_pixel_centers": True}, {})
    ),
    *(
        Case(
            f"ResizeNearestNeighbor of integers {options}",
            "ResizeNearestNeighbor",
            resize("ResizeNearestNeighbor", tf.int32, **options),
            IMAGE,
        )
        for options in ({"align_corners": True}, {"half_pixel_centers": True}, {})
    ),
    *(
        Case(f"{name}, left as it is {options}", "", resize(name, **options), IMAGE, in_tflite=5e-4)
        for name in ("ResizeBilinear", "ResizeNearestNeighbor")
        for options in ({"align_corners": True}, {"half_pixel_centers": True}, {})
    ),
]


def rewrite(case: Case, inputs: list[Inputs]) -> tuple[Any, Substituted]:
    specs = [tf.TensorSpec(value.shape, value.dtype, name=name) for name, value in inputs[0].items()]
    function = tf.function(case.run).get_concrete_function(*specs)
    return function, substitute(freeze_function(function), images=inputs)


def run_tflite(content: bytes, inputs: Inputs) -> Mapping[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner(SIGNATURE)(**inputs)


def check_equal(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float) -> None:
    for name, value in wanted.items():
        got = np.asarray(found[name])
        if f"{name}_length" in found:
            assert not got[int(found[f"{name}_length"]) :].any(), name
            got = got[: int(found[f"{name}_length"])]
        assert got.shape == value.shape, name
        np.testing.assert_allclose(got, value, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row_equals_the_kernel(case: Case) -> None:
    inputs = [case.draw() for _ in range(SAMPLES)]
    function, rewritten = rewrite(case, inputs)
    replaced = {item.op: item for item in rewritten.replacements}
    if case.op:
        error = replaced[case.op].error
        assert error is None or error <= case.tolerance
    else:
        assert not replaced
    content = convert_functions({SIGNATURE: rewritten.function})
    for values in inputs:
        tensors = {name: tf.constant(value) for name, value in values.items()}
        wanted = {name: value.numpy() for name, value in function(*tensors.values()).items()}
        found = {name: value.numpy() for name, value in rewritten.function(**tensors).items()}
        check_equal(found, wanted, case.tolerance)
        in_tflite = run_tflite(content, values)
        if case.in_tflite is not None:
            check_equal(in_tflite, wanted, case.in_tflite)
