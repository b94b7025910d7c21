"""`convert.openvino`: what an IR is asked to be beyond its scheme, in its contract and in its graph."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from stages.core.params.openvino import OpenvinoParams
from stages.core.results.brought import BroughtFacts
from stages.core.results.interface import ImageInput, Interface
from stages.core.results.kinds import Backend, Precision
from stages.core.tables.schemes import Scheme

ORDERS: dict[str, Literal["RGB", "BGR"]] = {"uint8_rgb": "RGB", "uint8_bgr": "BGR"}
"""`convert.openvino.input` to the order of the pixels."""


def scheme_with(scheme: Scheme, options: OpenvinoParams) -> Scheme:
    """The row with the types that the file then holds."""
    if scheme.backend is not Backend.OPENVINO:
        return scheme
    pixels = Precision.UINT8 if options.input in ORDERS else scheme.input
    rest = Precision(options.int8_rest) if scheme.weights is Precision.INT8 else scheme.rest
    return replace(scheme, input=pixels, rest=rest)


def why_not_asked(interface: Interface, facts: BroughtFacts | None, options: OpenvinoParams) -> str:
    """Why a graph cannot be what is asked for; empty if it can. `interface` is that of the exported graph."""
    spec = interface.input
    if options.size not in (None, spec.size):
        asked, size = (f"{height} x {width}" for height, width in (options.size or spec.size, spec.size))
        why = f"convert.openvino.size asks for {asked}, but anchors and borders are stored in this graph for {size}: "
        if facts is None:
            return f"{why}train it with input_size {list(options.size or ())}"
        if not facts.finished:
            return f"{why}set brought.{interface.model}.input.size, for which `export` makes it"
    if options.input in ORDERS and spec.dtype == "int8":
        return f"convert.openvino.input asks for {options.input}, but the file takes int8, which holds no pixels 0..255"
    return ""


def sized(interface: Interface, options: OpenvinoParams) -> Interface:
    """The contract with another size of the input."""
    if options.size is None:
        return interface
    height, width = options.size
    shape = (1, height, width, 3) if interface.input.layout == "NHWC" else (1, 3, height, width)
    return replace(interface, input=replace(interface.input, shape=shape))


def asked_for(interface: Interface, options: OpenvinoParams) -> Interface:
    """The contract of the finished file: `sized`, and raw pixels and a batch where they are asked for."""
    spec = sized(interface, options).input
    if order := ORDERS.get(options.input):
        spec = replace(
            spec,
            shape=(1, *spec.size, 3),
            dtype="uint8",
            color_order=order,
            normalization=_tell_folded(spec),
            mean=(0.0, 0.0, 0.0),
            deviation=(1.0, 1.0, 1.0),
            scale=None,
            zero_point=0,
            layout="NHWC",
        )
    num, rest = options.batch, spec.shape[1:]
    outputs = tuple(replace(output, shape=(num, *output.shape[1:])) for output in interface.outputs)
    return replace(interface, input=replace(spec, shape=(num, *rest)), outputs=outputs)


def describe_batch(options: OpenvinoParams) -> tuple[str, ...]:
    """A note for the results where a file takes several images."""
    num = options.batch
    return (f"{num} images of one inference: its latency is that of all {num}",) if num > 1 else ()


def apply_options(model: Any, interface: Interface, options: OpenvinoParams, names: Mapping[str, str]) -> Any:
    """The model as `asked_for` says, with more names.

    Args:
      model: An `openvino.Model` that `interface` describes.
      names: Names that tensors had in a brought graph, by their names here.
    """
    if order := ORDERS.get(options.input):
        model = fold_pixels(model, interface.input, order)
    if options.batch > 1:
        # Only here, because it loads OpenVINO.
        from stages.core.converting.batching import batch_model

        model = batch_model(model, options.batch)
    for port in (*model.inputs, *model.outputs):
        more = {extra for table in (names, options.names) for name, extra in table.items() if name in port.get_names()}
        if more:
            # Not `add_names`: what it adds is alone in the written file.
            port.get_tensor().set_names(set(port.get_names()) | more)
    return model


def fold_pixels(model: Any, spec: ImageInput, order: str) -> Any:
    """Puts what `spec` asks of the caller in front of the graph, so that it takes uint8 [1, H, W, 3] in `order`.

    Args:
      model: Takes what `spec` says.
      order: RGB or BGR.
    """
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(model)
    image = processor.input()
    image.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    image.model().set_layout(Layout(spec.layout))
    steps = image.preprocess()
    if order != spec.color_order:
        steps.reverse_channels()
    if spec.dtype == "float32":
        steps.convert_element_type(Type.f32)
        if any(spec.mean):
            steps.mean(list(spec.mean))
        if set(spec.deviation) != {1.0}:
            steps.scale(list(spec.deviation))
    return processor.build()


def _tell_folded(spec: ImageInput) -> str:
    if not any(spec.mean) and set(spec.deviation) == {1.0}:
        return spec.normalization
    mean, deviation = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.deviation))
    return f"inside the graph: (pixel - [{mean}]) / [{deviation}] in {spec.color_order} order"
