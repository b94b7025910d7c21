"""OpenVINO IRs of the tiny models: what is in the files, read from the files."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset14 as ops
import pytest
from PIL import Image

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.layout import SAVED_MODEL, Layout
from stages.core.converting.convert import interface_for
from stages.core.converting.job import ConversionJob, Made
from stages.core.converting.openvino import choose_calibration_images, make_ir, prove_ir
from stages.core.datasets.prepared import read_calibration
from stages.core.graphs.ir import read_ir_graph
from stages.core.graphs.layers import find_layers
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend
from stages.core.tables.schemes import SCHEMES
from tests.builders import interface
from tests.exported_project import MODELS, SIZE

pytestmark = pytest.mark.slow

SUMMARY = {
    # scheme: (types of the stored weights, share of MACs in int8, least)
    "openvino_float32": ({"float32"}, 0.0),
    "openvino_float16": ({"float16"}, 0.0),
    "openvino_int8": ({"int8"}, 0.99),
}
NUM_IMAGES = 2


def job(layout: Layout, model: str, scheme: str, folder: Path) -> ConversionJob:
    exported = layout.exported(model, "trained")
    row = SCHEMES[scheme]
    images = read_calibration(layout.calibration, limit=NUM_IMAGES) if row.needs_calibration else ()
    contract = interface_for(row, read_interface(exported))
    return ConversionJob(scheme=row, exported=exported, images=images, interface=contract, folder=folder)


@pytest.fixture(scope="module")
def made(exported_project: Layout, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """(model, scheme) to the folder with the IR and what making it told; each made once."""

    @cache
    def make(model: str, scheme: str) -> tuple[Path, Made]:
        folder = tmp_path_factory.mktemp(f"{model}-{scheme}")
        return folder, make_ir(job(exported_project, model, scheme, folder))

    return make


def test_every_openvino_row_is_summed_up() -> None:
    assert set(SUMMARY) == {name for name, row in SCHEMES.items() if row.backend is Backend.OPENVINO}


@pytest.mark.parametrize("scheme", SUMMARY)
@pytest.mark.parametrize("model", MODELS)
def test_the_proof_is_the_files(made, model: str, scheme: str) -> None:  # type: ignore[no-untyped-def]
    folder, told = made(model, scheme)
    proof = prove_ir(folder / "model.xml", SCHEMES[scheme])
    weights, share = SUMMARY[scheme]
    assert proof.contradictions == ()
    assert (proof.custom_ops, proof.flex_ops, proof.shared_box_score_scale) == ((), (), False)
    assert {dtype for op in proof.ops for dtype in op.weights} == weights
    assert proof.macs > 1e6
    assert proof.int8_macs_fraction >= share
    assert bool(proof.int8_macs_fraction) == bool(share)
    assert proof.weights_per_tensor == 0
    assert bool(proof.weights_per_channel) == bool(share)
    assert told.notes == ()
    assert bool(told.calibration_detections) == SCHEMES[scheme].needs_calibration


@pytest.mark.parametrize("model", MODELS)
def test_every_runtime_format_counts_the_same_layers(made, exported_project: Layout, model: str) -> None:  # type: ignore[no-untyped-def]
    from stages.core.graphs.flatbuffer import read_graph

    folder, _ = made(model, "openvino_float32")
    content = (exported_project.exported(model, "trained") / "model.tflite").read_bytes()
    ours, theirs = find_layers(read_ir_graph(folder / "model.xml")), find_layers(read_graph(content, "model.tflite"))
    assert sum(layer.macs for layer in ours) == pytest.approx(sum(layer.macs for layer in theirs), rel=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_only_layers_are_quantized(made, model: str) -> None:  # type: ignore[no-untyped-def]
    """All that computes coordinates reads floats: a suppression, a top-k, an exponential never sees an int8 tensor."""
    graph = read_ir_graph(made(model, "openvino_int8")[0] / "model.xml")
    seen = set()
    for op in graph.ops:
        if op.kind in ("NonMaxSuppression", "TopK", "Exp", "Sigmoid", "Floor", "Sqrt"):
            seen.add(op.kind)
            assert {tensor.dtype for tensor in graph.variable_inputs(op)} <= {"float32", "int32", "int64"}, op.kind
    assert "NonMaxSuppression" in seen


@pytest.mark.parametrize(
    ("scheme", "claims", "says"),
    [
        ("openvino_float32", "openvino_int8", "expected all int8"),
        ("openvino_float32", "openvino_float16", "expected all float16"),
        ("openvino_float16", "openvino_float32", "expected all float32"),
        ("openvino_int8", "openvino_float32", "expected all float32"),
    ],
)
def test_an_ir_that_is_not_what_it_claims(made, scheme: str, claims: str, says: str) -> None:  # type: ignore[no-untyped-def]
    folder, _ = made("retinanet_mobiledet_tiny", scheme)
    assert says in "; ".join(prove_ir(folder / "model.xml", SCHEMES[claims]).contradictions)


@pytest.mark.parametrize("scheme", SUMMARY)
def test_no_path_of_this_machine_is_written_down(made, exported_project: Layout, scheme: str) -> None:  # type: ignore[no-untyped-def]
    folder, _ = made("retinanet_mobiledet_tiny", scheme)
    text = (folder / "model.xml").read_text()
    for path in (str(exported_project.root), str(folder), str(Path.home()), "saved_model", "/tmp"):
        assert path not in text


def test_half_precision_halves_the_weights(made) -> None:  # type: ignore[no-untyped-def]
    sizes = {scheme: (made("retinanet_mobiledet_tiny", scheme)[0] / "model.bin").stat().st_size for scheme in SUMMARY}
    assert sizes["openvino_float16"] < 0.6 * sizes["openvino_float32"]
    assert sizes["openvino_int8"] < 0.8 * sizes["openvino_float16"], "anchors stay float"


def test_images_without_detections_are_left_out_and_counted(
    exported_project: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.core.converting import openvino

    asked = job(exported_project, "maskrcnn_tiny", "openvino_int8", tmp_path)
    asked = replace(asked, images=[*asked.images, *read_calibration(exported_project.calibration, limit=3)[2:]])
    monkeypatch.setattr(openvino, "choose_calibration_images", lambda model, images, contract: (list(images[:2]), 7))
    made = make_ir(asked)
    assert made.calibration_detections == 7
    assert made.notes == ("1 of 3 calibration images without any detection were left out",)


BAD_FOLDERS = {
    "missing": (lambda folder: None, MissingResultError, "run `export` first"),
    "empty_folder": (lambda folder: folder.mkdir(), ArtifactError, "cannot read it, expected a SavedModel"),
    "empty_file": (lambda folder: write_graph(folder, b""), ArtifactError, "cannot read it, expected a SavedModel"),
    "lfs_pointer": (
        lambda folder: write_graph(folder, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        ArtifactError,
        "cannot read it, expected a SavedModel",
    ),
    "truncated": (
        lambda folder: write_graph(folder, b"\x08\x01\x12\xff\xff\x03" + b"x" * 300),
        ArtifactError,
        "cannot read it, expected a SavedModel",
    ),
}


def write_graph(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(content)


@pytest.mark.parametrize("bad", BAD_FOLDERS)
def test_a_saved_model_that_is_none_is_named(exported_project: Layout, tmp_path: Path, bad: str) -> None:
    spoil, error, says = BAD_FOLDERS[bad]
    asked = replace(job(exported_project, "retinanet_mobiledet_tiny", "openvino_float32", tmp_path), exported=tmp_path)
    spoil(tmp_path / SAVED_MODEL)
    with pytest.raises(error, match=says) as caught:
        make_ir(asked)
    assert str(tmp_path / SAVED_MODEL) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_model_with_other_outputs_is_refused(exported_project: Layout, tmp_path: Path) -> None:
    asked = job(exported_project, "retinanet_mobiledet_tiny", "openvino_float32", tmp_path)
    masks = read_interface(exported_project.exported("maskrcnn_tiny", "trained"))
    with pytest.raises(ArtifactError, match=r"outputs .*expected .*detection_masks.*interface\.json"):
        make_ir(replace(asked, interface=masks))


def test_an_ir_without_its_weights_is_not_whole(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, _ = made("retinanet_mobiledet_tiny", "openvino_float32")
    (tmp_path / "model.xml").write_bytes((folder / "model.xml").read_bytes())
    with pytest.raises(ArtifactError, match=r"model\.xml: not a whole OpenVINO IR"):
        prove_ir(tmp_path / "model.xml", SCHEMES["openvino_float32"])


def build_counter() -> Any:
    """A detector that finds something in bright images only: 3 objects above a mean of 128."""
    image = ops.parameter([1, SIZE, SIZE, 3], np.float32, name="image")
    bright = ops.greater(ops.reduce_mean(image, [0, 1, 2, 3], False), np.float32(128))
    count = ops.reshape(ops.multiply(ops.convert(bright, np.float32), np.float32(3)), [1], False)
    result = ops.result(count)
    result.input_value(0).get_tensor().set_names({"num_detections"})
    image.output(0).get_tensor().set_names({"image"})
    return ov.Model([result], [image], "counter")


@pytest.fixture(scope="module")
def dark_and_bright(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    paths = [tmp_path_factory.mktemp("images") / f"{level}.png" for level in (20, 220)]
    for path in paths:
        Image.fromarray(np.full((SIZE, SIZE, 3), int(path.stem), np.uint8)).save(path)
    return paths


def test_masks_are_calibrated_on_images_that_show_objects(dark_and_bright: list[Path]) -> None:
    dark, bright = dark_and_bright
    assert choose_calibration_images(build_counter(), [dark, bright, bright], interface_of(masks=True)) == (
        [bright, bright],
        6,
    )


def test_without_masks_every_image_counts(dark_and_bright: list[Path]) -> None:
    assert choose_calibration_images(build_counter(), dark_and_bright, interface_of(masks=False)) == (
        dark_and_bright,
        3,
    )
    assert choose_calibration_images(build_counter(), dark_and_bright[:1], interface_of(masks=False)) == (
        dark_and_bright[:1],
        0,
    )


def test_masks_that_no_image_shows_cannot_be_calibrated(dark_and_bright: list[Path]) -> None:
    with pytest.raises(ArtifactError, match=r"none of 2 calibration images gives a detection.*export\.score_threshold"):
        choose_calibration_images(build_counter(), dark_and_bright[:1] * 2, interface_of(masks=True))


def interface_of(*, masks: bool) -> Interface:
    return interface("maskrcnn_tiny" if masks else "retinanet_mobiledet_tiny", "openvino_int8", size=SIZE)


@pytest.mark.parametrize("model", MODELS)
def test_no_search_is_a_stable_one(made, model: str) -> None:  # type: ignore[no-untyped-def]
    """A stable top-k is a bubble sort in the CPU plugin."""
    graph = ov.Core().read_model(made(model, "openvino_float32")[0] / "model.xml")
    stable = [op.get_attributes()["stable"] for op in graph.get_ops() if op.get_type_name() == "TopK"]
    assert stable
    assert not any(stable)
