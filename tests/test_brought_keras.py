"""A Keras Mask R-CNN of Matterport's family as a row: builtin ops only, and the original's detections."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from stages.core.base.errors import ArtifactError
from stages.core.base.layout import SAVED_MODEL, Layout
from stages.core.converting.job import ConversionJob
from stages.core.converting.mask_blocks import skip_empty_masks
from stages.core.converting.openvino import make_ir
from stages.core.converting.recipes import make_tflite
from stages.core.exporting.matterport import matterport_outputs, name_matterport
from stages.core.exporting.tflite import convert_functions, save_functions
from stages.core.graphs.flatbuffer import read_graph
from stages.core.processing.decode import outputs_to_detections
from stages.core.processing.preprocess import Placement
from stages.core.results.interface import SIGNATURE, ImageInput, Interface, PostProcessing
from stages.core.results.kinds import Backend
from stages.core.substituting.frozen import freeze_function
from stages.core.substituting.substitute import substitute
from stages.core.tables.schemes import SCHEMES
from stages.core.validating.agreement import measure_agreement
from tests.brought_project import call, write_brought_project
from tests.fitted_maskrcnn import FITTED, draw_scenes, fit_keras_maskrcnn
from tests.keras_maskrcnn import (
    MEAN,
    Fork,
    Sizes,
    build_keras_maskrcnn,
    concrete_function,
    image_meta,
    pyramid_anchors,
    random_images,
    save_keras_maskrcnn,
    spread_weights,
)

pytestmark = pytest.mark.slow
SIZES = Sizes()
NAME = "keras"
IMAGES = 10


def section(path: str, **more: Any) -> dict[str, Any]:
    folder = f"models/brought/{NAME}"
    return {
        "kind": "saved_model",
        "path": path,
        "layout": "matterport",
        "input": {"name": "input_image", "size": [128, 128], "mean": list(MEAN), "deviation": 1.0},
        "outputs": {"detections": "detections", "masks": "masks"},
        "bound": {"input_anchors": f"{folder}_anchors.npy", "input_image_meta": f"{folder}_meta.npy"},
        "labels": ["circle", "square", "triangle"],
        **more,
    }


@pytest.fixture(scope="module")
def model() -> Any:
    return spread_weights(build_keras_maskrcnn(SIZES), SIZES)


@pytest.fixture(scope="module")
def project(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("keras")
    layout = write_brought_project(root, {NAME: section(f"models/brought/{NAME}")})
    folder = root / "models" / "brought"
    folder.mkdir(parents=True, exist_ok=True)
    save_keras_maskrcnn(model, folder / NAME)
    np.save(folder / f"{NAME}_anchors.npy", pyramid_anchors(SIZES))
    np.save(folder / f"{NAME}_meta.npy", image_meta(SIZES))
    call(layout, "export", NAME, variant="trained")
    return layout


@pytest.fixture(scope="module")
def original(model: Any) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The Keras model: image, mean subtracted, to detections and masks."""
    function, rest = concrete_function(model), (image_meta(SIZES), pyramid_anchors(SIZES))

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        results = function(*(tf.constant(value) for value in (image, *rest)))
        return {name: results[name].numpy() for name in ("detections", "masks")}

    return run


@pytest.fixture(scope="module")
def examples(original: Callable[[np.ndarray], dict[str, np.ndarray]]) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Images, mean subtracted, and what the Keras model finds on them."""
    return [(image, original(image)) for image in random_images(SIZES, IMAGES)]


def compare(outputs: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Greatest differences of boxes, classes, scores and masks, after checking that as many are found."""
    rows = wanted["detections"][0]
    number = int((rows[:, 4] > 0).sum())
    assert outputs["num_detections"].item() == number
    own = np.arange(number)
    masks = wanted["masks"][0][own, :, :, rows[:number, 4].astype(int)]
    expected = {
        "boxes": (rows[:number, :4] * (SIZES.side - 1) + [0, 0, 1, 1]) / SIZES.side,
        "classes": rows[:number, 4] - 1,
        "scores": rows[:number, 5],
        "masks": masks,
    }
    return {
        name: float(np.abs(outputs[f"detection_{name}"][0, :number] - value).max(initial=0.0))
        for name, value in expected.items()
    }


def pixels_of(image: np.ndarray) -> np.ndarray:
    return (image + np.asarray(MEAN, np.float32)).astype(np.float32)


def test_float32_gives_the_originals_detections(converted: Layout, examples: Any) -> None:
    call(converted, "convert", NAME, scheme="float32")
    folder = converted.converted(NAME, "float32")
    content = (folder / "model.tflite").read_bytes()
    kinds = Counter(op.kind for op in read_graph(content, "model.tflite").ops)
    assert not [op.kind for op in read_graph(content, "model.tflite").ops if op.custom]
    assert not {kind for kind in kinds if "TENSOR_LIST" in kind or kind in ("WHILE", "IF", "UNIQUE", "WHERE")}
    run = open_tflite(folder / "model.tflite")
    seen: dict[str, float] = {}
    for image, wanted in examples:
        for name, error in compare(run(pixels_of(image)), wanted).items():
            seen[name] = max(seen.get(name, 0.0), error)
    assert seen["classes"] == 0
    assert max(seen.values()) <= 1e-4, seen
    # All masks are computed before any is chosen, so blocks of detections would find those of the first block.
    with pytest.raises(ArtifactError, match="GATHER looks up rows"):
        skip_empty_masks(content, 5)


def open_tflite(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    return lambda pixels: runner(image=pixels)


@pytest.fixture(scope="module")
def converted(project: Layout) -> Layout:
    call(project, "reference", NAME)
    return project


@pytest.mark.parametrize(
    "scheme", ["float16", "dynamic_range", "int8", "openvino_float32", "openvino_float16", "openvino_int8"]
)
def test_every_scheme_is_made_and_runs(converted: Layout, scheme: str, examples: Any) -> None:
    call(converted, "convert", NAME, scheme=scheme)
    folder = converted.converted(NAME, scheme)
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "ok", result["reason"]
    proof = json.loads((folder / "proof.json").read_text())
    replaced = {item["op"]: item["count"] for item in proof["substitutions"]}
    assert replaced["CropAndResize"] == 8
    assert not proof["flex_ops"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder of a model that finds what it was fitted to, and images of the same kind for calibration."""
    folder = tmp_path_factory.mktemp("fitted")
    function = deploy(fit_keras_maskrcnn(), FITTED)
    save_functions({SIGNATURE: function}, folder / SAVED_MODEL)
    (folder / "model.tflite").write_bytes(convert_functions({SIGNATURE: function}))
    (folder / "calibration").mkdir()
    for index, scene in enumerate(draw_scenes(40, seed=78)):
        Image.fromarray(scene.pixels).save(folder / "calibration" / f"{index:02d}.png")
    return folder


def deploy(model: Any, sizes: Sizes) -> Any:
    """The static function of a model, as `export` makes it."""
    shape = (1, sizes.side, sizes.side, 3)
    found = substitute(
        freeze_function(concrete_function(model)),
        shapes={"input_image": shape},
        bound={"input_image_meta": image_meta(sizes), "input_anchors": pyramid_anchors(sizes)},
        outputs=("detections", "masks"),
    )

    def run(image: Any) -> dict[str, Any]:
        results = found.function(input_image=image - np.asarray(MEAN, np.float32))
        return name_matterport(results, "detections", "masks", (sizes.side, sizes.side))

    return tf.function(run, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))


@pytest.mark.parametrize("name", ["int8", "dynamic_range", "openvino_int8"])
def test_a_quantized_file_agrees_with_float32(fitted: Path, tmp_path: Path, name: str) -> None:
    """Scores with the gaps of a real detector's, some hundred overlapping regions, 40 calibration images like these.

    The models of the other tests have random weights and nearly equal scores, so that any rounding changes what
    suppression keeps: with kernels moved by 0.1 % their float detections agree to F1 0.97, by 1 % to 0.78.
    """
    interface, scheme = interface_of(FITTED), SCHEMES[name]
    images = sorted((fitted / "calibration").glob("*.png"))
    job = ConversionJob(scheme=scheme, exported=fitted, images=images, interface=interface, folder=tmp_path)
    maker = make_ir if scheme.backend is Backend.OPENVINO else make_tflite
    maker(job)
    open_file = open_ir if scheme.backend is Backend.OPENVINO else open_tflite
    runners = open_tflite(fitted / "model.tflite"), open_file(next(tmp_path.glob("model.[tx]*")))
    placement = Placement(*[(FITTED.side, FITTED.side)] * 3)
    triples = []
    for index, scene in enumerate(draw_scenes(140, seed=77)):
        pixels = scene.pixels[np.newaxis].astype(np.float32)
        reference, got = (outputs_to_detections(runner(pixels), interface, placement) for runner in runners)
        triples.append((index, reference, got))
    agreement = measure_agreement(triples, score_threshold=0.5)
    assert agreement.num_reference > 150
    assert agreement.f1 is not None
    assert agreement.f1 >= 0.95, agreement


def open_ir(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    import openvino as ov

    compiled = ov.Core().compile_model(ov.Core().read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: {port.get_any_name(): value for port, value in compiled({"image": pixels}).items()}


def interface_of(sizes: Sizes) -> Interface:
    image = ImageInput(
        name="image", shape=(1, sizes.side, sizes.side, 3), dtype="float32", pad_value=(0, 0, 0), normalization=""
    )
    return Interface(
        model=NAME,
        task="segmentation",
        variant="trained",
        input=image,
        outputs=matterport_outputs(sizes.detections, 2 * sizes.mask_pool),
        class_offset=1,
        labels={"1": "circle", "2": "square", "3": "triangle"},
        post_processing=PostProcessing(
            method="", max_detections=sizes.detections, score_threshold=0.0, nms_iou_threshold=1.0
        ),
        checkpoint_sha256="",
    )


def test_a_fork_that_differs_is_rewritten_too() -> None:
    """Other names, no threshold and so no sets, and regions that are sampled twice as densely and averaged."""
    fork = Fork(prefix="other", min_confidence=0.0, joins="none", crops_twice=True)
    function = concrete_function(spread_weights(build_keras_maskrcnn(SIZES, fork), SIZES, seed=1))
    rest = {"input_image_meta": image_meta(SIZES), "input_anchors": pyramid_anchors(SIZES)}
    found = substitute(
        freeze_function(function),
        shapes={"input_image": [1, SIZES.side, SIZES.side, 3]},
        bound=rest,
        outputs=("detections", "masks"),
    )
    kinds = {node.op for node in found.function.graph.as_graph_def().node}
    assert not kinds & {"CropAndResize", "While", "StatelessWhile", "Where", "Unique", "TensorListStack"}
    for image in random_images(SIZES, 3, seed=2):
        wanted = function(*(tf.constant(value) for value in (image, *rest.values())))
        got = found.function(input_image=tf.constant(image))
        for name in ("detections", "masks"):
            np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=1e-4, err_msg=name)
