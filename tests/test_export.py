import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import DataError
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.datasets.prepared import load_image, read_split
from stages.core.graphs.flatbuffer import read_graph
from stages.core.processing.preprocess import preprocess_image
from stages.core.processing.stored_outputs import load_outputs
from stages.core.results.interface import read_interface
from stages.core.running.open import open_runner
from stages.export import main
from tests.builders import LABELS, plain
from tests.exported_project import EXPORT, MODELS, SIZE
from tests.tiny_project import write_artifact

pytestmark = pytest.mark.slow

COMMON = {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
FILES = {"retinanet_mobiledet_tiny": ("model.tflite", "postprocess_op.tflite"), "maskrcnn_tiny": ("model.tflite",)}
CUSTOM_OPS = {("retinanet_mobiledet_tiny", "postprocess_op.tflite"): ["TFLite_Detection_PostProcess"]}
EVERY_FILE = [(model, file) for model in MODELS for file in FILES[model]]
OUTPUTS = {"retinanet_mobiledet_tiny": COMMON, "maskrcnn_tiny": COMMON | {"detection_masks"}}


@pytest.mark.parametrize("model", MODELS)
def test_folder_is_complete_and_nothing_else_is_left(exported_project: Layout, model: str) -> None:
    folder = exported_project.exported(model, "trained")
    assert {path.name for path in folder.iterdir()} == {
        "saved_model",
        *FILES[model],
        "interface.json",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["trained"]


@pytest.mark.parametrize(("model", "file"), EVERY_FILE)
def test_interface_says_what_the_file_is(exported_project: Layout, model: str, file: str) -> None:
    folder = exported_project.exported(model, "trained")
    interface = read_interface(folder)
    graph = read_graph((folder / file).read_bytes(), model)
    assert interface.labels == LABELS
    assert interface.input.shape == (1, SIZE, SIZE, 3)
    assert interface.input.pad_value == (128, 128, 128)
    assert interface.input.normalization.endswith("(pixel - [127.500, 127.500, 127.500]) / [127.500, 127.500, 127.500]")
    assert interface.class_offset == 1
    assert interface.post_processing.max_detections == EXPORT["max_detections"]
    assert {output.name for output in interface.outputs} == OUTPUTS[model]
    assert list(graph.inputs) == [interface.input.name]
    for output in interface.outputs:
        tensor = graph.tensors[graph.outputs[output.name]]
        assert (tensor.shape, tensor.dtype) == (output.shape, output.dtype), output.name


@pytest.mark.parametrize(("model", "file"), EVERY_FILE)
def test_graph_is_static_and_builtin(exported_project: Layout, model: str, file: str) -> None:
    graph = read_graph((exported_project.exported(model, "trained") / file).read_bytes(), model)
    kinds = {op.kind for op in graph.ops}
    assert not kinds & {"WHILE", "IF", "GATHER_ND", "WHERE", "NON_MAX_SUPPRESSION_V5", "BATCH_MATMUL", "SHAPE"}
    assert [op.kind for op in graph.ops if op.custom] == CUSTOM_OPS.get((model, file), [])
    assert all(side > 0 for tensor in graph.tensors for side in tensor.shape)


@pytest.mark.parametrize("model", MODELS)
def test_float_file_gives_the_reference(
    exported_project: Layout, model: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = exported_project.exported(model, "trained")
    interface, reference = read_interface(folder), load_outputs(exported_project.reference(model))
    content = (folder / "model.tflite").read_bytes()
    artifact = write_artifact(tmp_path_factory.mktemp(model), content, replace(interface, raw_outputs=()))
    runner = open_runner(artifact, num_threads=1)
    split = read_split(exported_project.split("val"))
    assert reference.split == "val"
    assert reference.image_ids.tolist() == [image.image_id for image in split.images]
    assert set(reference.raw_outputs) == {output.name for output in interface.raw_outputs}
    for image in split.images:
        found = runner.infer(preprocess_image(load_image(image.path), interface.input)[0])
        expected = reference.outputs_of(image.image_id)
        num = int(expected["num_detections"])
        assert num == int(found["num_detections"][0]) > 0
        for name in OUTPUTS[model] - {"num_detections"}:
            np.testing.assert_allclose(found[name][0, :num], expected[name][:num], atol=1e-3, err_msg=name)


def test_inputs_of_the_op_are_the_references_raw_outputs(exported_project: Layout, tmp_path: Path) -> None:
    folder = exported_project.exported("retinanet_mobiledet_tiny", "trained")
    interface, reference = read_interface(folder), load_outputs(exported_project.reference("retinanet_mobiledet_tiny"))
    artifact = write_artifact(tmp_path, (folder / "postprocess_op.tflite").read_bytes(), interface)
    runner = open_runner(artifact, num_threads=1, keep_raw=True)
    split = read_split(exported_project.split("val"))
    assert len(reference.raw_image_ids) > 1
    for index, image_id in enumerate(reference.raw_image_ids.tolist()):
        runner.infer(preprocess_image(load_image(split.by_id[image_id].path), interface.input)[0])
        assert set(runner.raw_outputs) == set(reference.raw_outputs)
        for name, values in runner.raw_outputs.items():
            scale = np.abs(reference.raw_outputs[name][index]).max()
            np.testing.assert_allclose(values[0], reference.raw_outputs[name][index], atol=1e-3 * scale, err_msg=name)


@pytest.mark.parametrize(
    ("model", "signatures"),
    [("retinanet_mobiledet_tiny", {"serving_default", "raw_heads"}), ("maskrcnn_tiny", {"serving_default"})],
)
def test_saved_model_computes_what_the_interface_says(
    exported_project: Layout, model: str, signatures: set[str]
) -> None:
    """TensorFlow computes zeros for the post-processing op, so no signature may contain it."""
    import tensorflow as tf

    folder = exported_project.exported(model, "trained")
    interface = read_interface(folder)
    loaded = tf.saved_model.load(plain(folder / "saved_model"))
    assert set(loaded.signatures) == signatures
    image = tf.random.uniform([1, SIZE, SIZE, 3], maxval=255.0, seed=1)
    for name, outputs in {"serving_default": interface.outputs, "raw_heads": interface.raw_outputs}.items():
        if name not in signatures:
            assert not outputs
            continue
        found = loaded.signatures[name](image=image)
        assert {key: tuple(value.shape) for key, value in found.items()} == {o.name: o.shape for o in outputs}
        assert all(np.abs(value).max() > 0 for key, value in found.items() if key != "detection_classes")


def test_other_labels_than_trained_on_are_refused(exported_project: Layout, tmp_path: pytest.TempPathFactory) -> None:
    layout = Layout(tmp_path)
    shutil.copy(exported_project.params, layout.params)
    shutil.copytree(exported_project.prepared, layout.prepared)
    shutil.copytree(
        exported_project.variant("retinanet_mobiledet_tiny", "trained"),
        layout.variant("retinanet_mobiledet_tiny", "trained"),
    )
    write_json({"1": "circle", "2": "square"}, layout.labels)
    with pytest.raises(DataError, match=r"trained on 3 classes, labels.json has 2"):
        main(["--model", "retinanet_mobiledet_tiny", "--root", str(tmp_path)])
    assert not layout.exported("retinanet_mobiledet_tiny", "trained").exists()
