"""One graph per detector: TensorFlow, LiteRT and OpenVINO find the same on the same pixels.

The form that ends in the post-processing op is class-agnostic: it finds what the graph finds with that parameter on.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from flatbuffers import flexbuffers

from stages.core.base.layout import SAVED_MODEL, TFLITE_FILES, Layout
from stages.core.converting.convert import interface_for
from stages.core.converting.job import ConversionJob
from stages.core.converting.openvino import make_ir
from stages.core.datasets.prepared import load_image, read_split
from stages.core.graphs.flatbuffer import parse_model, read_graph
from stages.core.params.steps import ExportParams
from stages.core.processing.decode import drop_unused_rows
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend, Form
from stages.core.running.artifact import Artifact
from stages.core.running.open import open_runner
from stages.core.tables.schemes import SCHEMES
from tests.exported_project import EXPORT, MODELS, random_model

pytestmark = pytest.mark.slow

CLOSE = 1e-3
CLASS_AGNOSTIC = "retinanet_tiny_class_agnostic"
Exported = tuple[Path, Interface]
Answer = tuple[np.ndarray, dict[str, np.ndarray]]
"""Pixels, and what is found in them."""


CASES = [
    *((model, runtime) for model in MODELS for runtime in ("model.tflite", "openvino")),
    *((CLASS_AGNOSTIC, runtime) for runtime in ("model.tflite", "openvino", "postprocess_op.tflite")),
]


@pytest.fixture(scope="module")
def folders(exported_project: Layout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported folders: of both models, and of the one that has two forms with the other parameter."""
    from stages.core.exporting.graph import PostProcessingSettings
    from stages.core.exporting.retinanet import build_retinanet_graph
    from stages.core.exporting.tflite import save_functions, write_tflites

    config, weights = random_model("retinanet_mobiledet_tiny")
    settings = PostProcessingSettings(**ExportParams(**EXPORT, class_agnostic_nms=True).model_dump())
    graph = build_retinanet_graph(config.task.model, weights, settings)
    folder = tmp_path_factory.mktemp(CLASS_AGNOSTIC)
    save_functions(graph.signatures, folder / SAVED_MODEL)
    write_tflites(graph, folder)
    return {model: exported_project.exported(model, "trained") for model in MODELS} | {CLASS_AGNOSTIC: folder}


def open_case(folders: dict[str, Path], layout: Layout, name: str) -> Exported:
    model = "retinanet_mobiledet_tiny" if name == CLASS_AGNOSTIC else name
    return folders[name], read_interface(layout.exported(model, "trained"))


def run_tensorflow(exported: Exported) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exported[0] / SAVED_MODEL))
    detect = loaded.signatures["serving_default"]
    # The loaded object owns what the signature calls.
    return lambda pixels: {key: value.numpy() for key, value in detect(image=tf.constant(pixels)).items() if loaded}


@pytest.fixture(scope="module")
def answers(folders: dict[str, Path], exported_project: Layout) -> Callable[[str], list[Answer]]:
    """What TensorFlow finds in each image, by the name of the graph; each graph is loaded once."""

    @cache
    def answer(name: str) -> list[Answer]:
        exported = open_case(folders, exported_project, name)
        run = run_tensorflow(exported)
        return [(pixels, run(pixels)) for pixels in read_pictures(exported_project, exported[1])]

    return answer


def read_pictures(layout: Layout, interface: Interface) -> list[np.ndarray]:
    images = read_split(layout.split("val")).images
    return [preprocess_image(load_image(image.path), interface.input)[0] for image in images]


def run_tflite(form: Form) -> Callable[..., Callable[[np.ndarray], dict[str, np.ndarray]]]:
    def open_file(exported: Exported, scratch: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        path = exported[0] / TFLITE_FILES[form]
        artifact = Artifact((path,), "", Backend.TFLITE, replace(exported[1], raw_outputs=()))
        runner = open_runner(artifact, num_threads=2)
        return lambda pixels: dict(runner.infer(pixels))

    return open_file


def run_openvino(exported: Exported, scratch: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    scheme = SCHEMES["openvino_float32"]
    interface = interface_for(scheme, exported[1])
    make_ir(ConversionJob(scheme=scheme, exported=exported[0], images=(), interface=interface, folder=scratch))
    files = (scratch / "model.xml", scratch / "model.bin")
    runner = open_runner(Artifact(files, "", scheme.backend, interface), num_threads=2)
    return lambda pixels: dict(runner.infer(pixels))


RUNTIMES = {
    "model.tflite": run_tflite(Form.BUILTIN),
    "postprocess_op.tflite": run_tflite(Form.POSTPROCESS_OP),
    "openvino": run_openvino,
}


@pytest.mark.parametrize(("name", "runtime"), CASES)
def test_every_runtime_finds_the_same(
    folders: dict[str, Path],
    exported_project: Layout,
    answers: Callable[[str], list[Answer]],
    name: str,
    runtime: str,
    tmp_path: Path,
) -> None:
    exported = open_case(folders, exported_project, name)
    run = RUNTIMES[runtime](exported, tmp_path)
    assert answers(name)
    for pixels, answer in answers(name):
        expected, found = drop_unused_rows(answer), drop_unused_rows(run(pixels))
        assert found["num_detections"] == expected["num_detections"] > 0
        assert found["detection_classes"].tolist() == expected["detection_classes"].tolist()
        for output in exported[1].outputs:
            np.testing.assert_allclose(found[output.name], expected[output.name], atol=CLOSE, err_msg=output.name)


def test_the_knob_makes_a_difference(answers: Callable[[str], list[Answer]]) -> None:
    """Else the comparisons above could not tell one suppression from the other."""
    aware, agnostic = answers("retinanet_mobiledet_tiny"), answers(CLASS_AGNOSTIC)
    assert any(
        (one["detection_boxes"] != other["detection_boxes"]).any()
        for (_, one), (_, other) in zip(aware, agnostic, strict=True)
    )


@pytest.mark.parametrize("name", ["retinanet_mobiledet_tiny", CLASS_AGNOSTIC])
def test_only_the_op_form_holds_the_op(folders: dict[str, Path], name: str) -> None:
    """Fast mode whatever the parameter says: the op's class-aware mode loses detections with more than one thread."""
    last = {}
    for form, file in TFLITE_FILES.items():
        content = (folders[name] / file).read_bytes()
        graph = read_graph(content, file)
        customs = [op.kind for op in graph.ops if op.custom]
        assert customs == (["TFLite_Detection_PostProcess"] if form == Form.POSTPROCESS_OP else [])
        assert ("NON_MAX_SUPPRESSION_V4" in {op.kind for op in graph.ops}) == (not customs)
        last[form] = parse_model(content, file).subgraphs[0].operators[-1]
    options = flexbuffers.Loads(bytes(last[Form.POSTPROCESS_OP].customOptions))
    assert not options["use_regular_nms"]
    assert options["max_classes_per_detection"] == 1
