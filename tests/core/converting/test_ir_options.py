"""`convert.openvino`: the contract and the graph say the same, and what cannot be done is refused with a reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from stages.core.base.errors import ArtifactError, ParamsError
from stages.core.converting.ir_options import apply_options, asked_for, scheme_with, sized, why_not_asked
from stages.core.graphs.reshaping import reshape_image
from stages.core.params.openvino import OpenvinoParams
from stages.core.params.tree import parse_params
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.brought import BroughtFacts
from stages.core.results.interface import ImageInput, TensorOutput
from stages.core.results.kinds import Precision
from stages.core.running.openvino import describe_outputs, describe_port, describe_ports
from stages.core.tables.schemes import SCHEMES
from tests.tiny_project import tiny_interface

SIDE = 8
FORMS: dict[str, dict[str, Any]] = {
    "pixels": {},
    "normalised": {"mean": (120.0, 110.0, 100.0), "deviation": (60.0, 50.0, 40.0)},
    "foreign": {"mean": (1.0, 2.0, 3.0), "deviation": (9.0, 8.0, 7.0), "color_order": "BGR", "layout": "NCHW"},
    "bytes": {"dtype": "uint8", "color_order": "BGR"},
}


def spec_of(**changes: Any) -> ImageInput:
    shape = (1, 3, SIDE, SIDE) if changes.get("layout") == "NCHW" else (1, SIDE, SIDE, 3)
    values = {"name": "image", "shape": shape, "dtype": "float32", "pad_value": (1, 2, 3), "normalization": "none"}
    return ImageInput(**(values | changes))


def contract(spec: ImageInput) -> Any:
    """A contract whose only output is the input tensor itself."""
    whole = TensorOutput(name="detection_boxes", shape=spec.shape, dtype="float32", meaning="the input")
    return replace(tiny_interface("retinanet_mobiledet_tiny"), input=spec, outputs=(whole,), raw_outputs=())


def echo(spec: ImageInput) -> Any:
    image = ops.parameter(list(spec.shape), np.dtype(spec.dtype), name="image")
    value = ops.multiply(ops.convert(image, np.float32), np.float32(1))
    image.output(0).get_tensor().set_names({"image"})
    value.output(0).get_tensor().set_names({"detection_boxes"})
    return ov.Model([value.output(0)], [image], "echo")


@pytest.mark.parametrize("order", ["uint8_rgb", "uint8_bgr"])
@pytest.mark.parametrize("form", FORMS)
def test_folded_pixels_become_what_the_caller_would_have_fed(form: str, order: str) -> None:
    options = OpenvinoParams(input=order)  # type: ignore[arg-type]
    plain = contract(spec_of(**FORMS[form]))
    asked = asked_for(plain, options).input
    assert (asked.dtype, asked.color_order, asked.layout) == ("uint8", order[-3:].upper(), "NHWC")
    assert (set(asked.mean), set(asked.deviation), asked.scale) == ({0.0}, {1.0}, None)
    model = apply_options(echo(plain.input), plain, options, {})
    assert describe_port(model.inputs[0]) == (asked.shape, "uint8")
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    fed, _ = preprocess_image(image, asked)
    found = ov.Core().compile_model(model, "CPU")({"image": fed})[0]
    np.testing.assert_allclose(found, preprocess_image(image, plain.input)[0], atol=1e-4)
    if order == "uint8_bgr":
        np.testing.assert_array_equal(fed[0], image[..., ::-1])


def test_everything_at_once_is_as_the_contract_says(tmp_path: Path) -> None:
    options = OpenvinoParams(batch=2, input="uint8_bgr", names={"image": "data", "detection_masks": "masks"})
    plain = contract(spec_of(**FORMS["normalised"]))
    model = apply_options(echo(plain.input), plain, options, {"detection_boxes": "theirs"})
    ov.save_model(model, tmp_path / "model.xml")
    model = ov.Core().read_model(tmp_path / "model.xml")
    asked = asked_for(plain, options)
    assert describe_port(model.inputs[0]) == (asked.input.shape, "uint8") == ((2, SIDE, SIDE, 3), "uint8")
    assert describe_ports(model.outputs) == dict.fromkeys(
        ("detection_boxes", "theirs"), ((2, SIDE, SIDE, 3), "float32")
    )
    assert describe_outputs(asked)["detection_boxes"][0] == (2, SIDE, SIDE, 3)
    assert model.inputs[0].get_names() == {"image", "data"}


def test_nothing_asked_changes_nothing() -> None:
    plain, nothing = contract(spec_of(**FORMS["foreign"])), OpenvinoParams()
    assert asked_for(plain, nothing) == sized(plain, nothing) == plain
    assert all(scheme_with(scheme, nothing) == scheme for scheme in SCHEMES.values())
    model = echo(plain.input)
    assert apply_options(model, plain, nothing, {}) is model


def test_types_follow_what_is_asked() -> None:
    options = OpenvinoParams(input="uint8_rgb", int8_rest="float16")
    changed = {name: scheme_with(SCHEMES[name], options) for name in ("openvino_int8", "openvino_float32", "int8")}
    assert {name: (row.input, row.rest) for name, row in changed.items()} == {
        "openvino_int8": (Precision.UINT8, Precision.FLOAT16),
        "openvino_float32": (Precision.UINT8, Precision.FLOAT32),
        "int8": (Precision.FLOAT32, Precision.FLOAT32),
    }


def test_a_graph_with_stored_anchors_is_not_reshaped() -> None:
    plain, larger = contract(spec_of()), OpenvinoParams(size=(16, 16))
    ours, graph = why_not_asked(plain, None, larger), BroughtFacts(kind="saved_model", sha256="")
    assert "anchors and borders are stored in this graph for 8 x 8: train it with input_size [16, 16]" in ours
    assert "set brought.retinanet_mobiledet_tiny.input.size" in why_not_asked(plain, graph, larger)
    assert why_not_asked(plain, None, OpenvinoParams(size=(SIDE, SIDE))) == ""
    assert why_not_asked(plain, BroughtFacts(kind="openvino", sha256="", finished="model.xml"), larger) == ""
    assert "takes int8" in why_not_asked(contract(spec_of(dtype="int8")), None, OpenvinoParams(input="uint8_rgb"))


def test_a_static_graph_says_what_it_has_stored() -> None:
    model = echo(spec_of())
    reshape_image(model, (1, 16, 16, 3), "it")
    assert describe_port(model.inputs[0])[0] == (1, 16, 16, 3)
    image = ops.parameter([1, SIDE, SIDE, 3], np.float32, name="image")
    static = ov.Model([ops.add(image, np.zeros((1, SIDE, SIDE, 3), np.float32)).output(0)], [image], "static")
    with pytest.raises(
        ArtifactError, match=r"it: a graph for \[1,8,8,3\] cannot be reshaped to \[1, 16, 16, 3\]"
    ) as told:
        reshape_image(static, (1, 16, 16, 3), "it")
    assert "\n" not in str(told.value)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"batch": 0}, r"convert.openvino.batch: .*greater than or equal to 1 \(found 0\)"),
    ({"names": {"picture": "x"}}, "convert.openvino.names: no tensor 'picture'; tensors are image, detection_boxes"),
    ({"names": {"image": "num_detections"}}, "'num_detections' is empty or the name of another tensor"),
    ({"names": {"image": "x", "detection_boxes": "x"}}, "'x' is empty or the name of another tensor"),
    ({"input": "uint8"}, "convert.openvino.input: .*'as_exported', 'uint8_rgb' or 'uint8_bgr'"),
    ({"reshape": [1]}, "convert.openvino.reshape: unknown key .*known: batch, input, int8_rest, names, size"),
]


@pytest.mark.parametrize(("section", "says"), WRONG, ids=[str(row[0]) for row in WRONG])
def test_wrong_parameters_are_one_line(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=says) as caught:
        parse_params({"models": ["ssdlite_tiny"], "schemes": ["int8"], "convert": {"openvino": section}})
    assert "\n" not in str(caught.value)
