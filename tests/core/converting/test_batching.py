"""A batch answers for every image what the file of one image answers, in every row."""

from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import openvino.properties.hint as hints
import pytest

from stages.core.converting.batching import batch_model

SIDE = 8
Answer = dict[str, np.ndarray]


def build_model() -> Any:
    """Two convolutions, then a choice of the best two cells of `x[0]`, as a detector's post-processing does it."""
    rng = np.random.default_rng(0)
    image = ops.parameter([1, SIDE, SIDE, 3], np.float32, name="image")
    turned = ops.transpose(image, np.asarray([0, 3, 1, 2], np.int64))
    kernels = [rng.normal(0, 0.3, (4, num, 3, 3)).astype(np.float32) for num in (3, 4)]
    value = ops.relu(ops.convolution(turned, kernels[0], [2, 2], [1, 1], [1, 1], [1, 1]))
    value = ops.convolution(value, kernels[1], [1, 1], [1, 1], [1, 1], [1, 1])
    rows = ops.reshape(
        ops.transpose(value, np.asarray([0, 2, 3, 1], np.int64)), np.asarray([1, -1, 4], np.int64), False
    )
    first = ops.gather(rows, np.int64(0), np.int64(0))
    best = ops.topk(ops.gather(first, np.int64(0), np.int64(1)), np.int64(2), 0, "max", "value")
    boxes = ops.unsqueeze(ops.gather(first, best.output(1), np.int64(0)), np.int64(0))
    found = {"detection_boxes": boxes, "detection_scores": ops.unsqueeze(best.output(0), np.int64(0))}
    for name, node in found.items():
        node.output(0).get_tensor().set_names({name})
    image.output(0).get_tensor().set_names({"image"})
    return ov.Model([node.output(0) for node in found.values()], [image], "it")


def compute(model: Any, tensor: np.ndarray) -> Answer:
    compiled = ov.Core().compile_model(model, "CPU", {hints.inference_precision(): ov.Type.f32})
    found = compiled({"image": tensor})
    return {next(iter(port.get_names())): np.array(found[port]) for port in compiled.outputs}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.float32)


def test_every_row_is_what_one_image_gives(images: np.ndarray) -> None:
    model = build_model()
    batched = batch_model(model, 3)
    found = compute(batched, images)
    alone = [compute(model, image[None]) for image in images]
    assert found["detection_boxes"].shape == (3, 2, 4)
    for name, values in found.items():
        np.testing.assert_allclose(values, np.concatenate([one[name] for one in alone]), rtol=1e-5)
    assert (found["detection_scores"][0] != found["detection_scores"][1]).any()


def test_what_keeps_images_apart_is_computed_once() -> None:
    kinds = [node.get_type_name() for node in batch_model(build_model(), 3).get_ops()]
    assert kinds.count("Convolution") == 2
    assert kinds.count("TopK") == 3


def test_openvinos_own_reshape_would_answer_for_one_image(images: np.ndarray) -> None:
    """Why there is a batch of our own: nothing refuses the reshape, and only one answer comes back."""
    model = build_model()
    model.reshape({"image": [3, SIDE, SIDE, 3]})
    assert compute(model, images)["detection_boxes"].shape == (1, 2, 4)
