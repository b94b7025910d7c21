"""Training, its evaluation and whoever uses the model see the same pixels, whatever shape and format an image has."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.dataloaders import tf_example_decoder
from official.vision.ops import preprocess_ops

from stages.core.base.errors import ParamsError
from stages.core.base.layout import Layout
from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.prepared import load_image, read_split
from stages.core.exporting.export import RESIZES
from stages.core.exporting.graph import padding_color
from stages.core.params.steps import PrepareParams
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.interface import ImageInput
from stages.core.tables.detectors import SIGNED
from stages.core.training.clock import TrainingLength
from stages.core.training.parsers import maskrcnn_parser, retinanet_parser
from stages.core.training.tasks import TrainingSetup, build_training_task
from stages.core.training.tracing import traced_as
from tests.dataset_builder import coco_annotation, coco_tree, encode, picture, polygon, write_coco
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow

SIZE = (64, 128)
SHAPES = [(64, 64), (120, 60), (40, 120), (101, 37), (33, 97), (64, 128)]
"""1:1, 2:1, 1:3, odd sizes, and the input's own."""
MODELS = {
    "retinanet_mobiledet_tiny": retinanet_parser,
    "ssdlite_tiny": retinanet_parser,
    "maskrcnn_tiny": maskrcnn_parser,
}
STILL = {"horizontal_flip": False, "scale_min": 1.0, "scale_max": 1.0}
ONE_LEVEL = 1.0
"""Largest difference of a pixel in 0..255: inference rounds to whole levels, of the padding too."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Prepared images of all shapes, as JPEG and as PNG, each with one object off its centre."""
    layout = Layout(tmp_path_factory.mktemp("shapes"))
    images, objects, files = [], [], {}
    for number, (height, width) in enumerate(SHAPES * 2):
        box = (round(0.1 * width), round(0.3 * height), round(0.6 * width), round(0.9 * height))
        extent = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        kind = ("JPEG", "PNG")[(number + number // len(SHAPES)) % 2]
        name = f"{number}.{kind.lower()}"
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        outline = polygon(tuple(map(float, box)))  # type: ignore[arg-type]
        objects.append(
            coco_annotation(id=number, image_id=number, category_id=number % 2, bbox=extent, segmentation=outline)
        )
        files[name] = encode(picture(number, height, width), kind)
    write_coco(layout.root / "raw", coco_tree(images=images, annotations=objects), files)
    params = {"source": "coco", "path": "raw", "calibration_images": 2, "num_shards": 1, "split": {"val": 0.5}}
    prepare_data(PrepareParams.model_validate(params), folder=layout.root / "raw", out_dir=layout.prepared)
    return layout


def config_of(layout: Layout, model: str, resize: str) -> Any:
    config = experiment(model, input_size=SIZE, batch_size=1, augmentation=STILL, resize=resize)
    config.task.validation_data.global_batch_size = 1
    for data in (config.task.train_data, config.task.validation_data):
        data.input_path = str(layout.root / data.input_path)
    config.task.annotation_file = str(layout.annotations("val"))
    return config


def to_pixels(image: Any) -> np.ndarray:
    """Undoes the rows' pixel scaling: 0..255."""
    return np.asarray(image) * np.asarray(SIGNED.deviation) + np.asarray(SIGNED.mean)


def inference(layout: Layout, split: str, image_id: int, resize: str) -> np.ndarray:
    spec = ImageInput(
        name="image",
        shape=(1, *SIZE, 3),
        dtype="float32",
        resize=RESIZES[resize],
        pad_value=padding_color(SIGNED),
        normalization="inside",
    )
    tensor, _ = preprocess_image(load_image(read_split(layout.split(split)).by_id[image_id].path), spec)
    return tensor[0]


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("model", MODELS)
def test_the_evaluation_sees_what_a_user_feeds(layout: Layout, model: str, resize: str) -> None:
    config = config_of(layout, model, resize)
    setup = TrainingSetup(
        annotations=layout.annotations("train"),
        length=TrainingLength(steps=10, max_minutes=None),
        average_follows_clock=False,
    )
    task = build_training_task(config, setup, logging_dir=layout.root / "log")
    seen = set()
    for images, labels in task.build_inputs(config.task.validation_data):
        truth, info = labels["groundtruths"], labels["image_info"].numpy()[0]
        height, width = int(truth["height"][0]), int(truth["width"][0])
        seen.add((height, width))
        wanted = inference(layout, "val", int(truth["source_id"][0]), resize)
        assert np.abs(to_pixels(images[0]) - wanted).max() <= ONE_LEVEL
        # Model Garden's evaluator divides boxes by these factors: each side by its own.
        sides = np.asarray([height, width])
        scale = np.asarray(SIZE) / sides
        resized = np.asarray(SIZE) if resize == "stretch" else np.round(sides * scale.min())
        np.testing.assert_allclose(info[2], resized / sides, rtol=1e-6)
    assert len(seen) >= 3


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("model", MODELS)
def test_training_sees_what_a_user_feeds_and_boxes_and_masks_follow(layout: Layout, model: str, resize: str) -> None:
    config = config_of(layout, model, resize)
    decoder = tf_example_decoder.TfExampleDecoder(include_mask=model == "maskrcnn_tiny")
    parse = MODELS[model](config.task, config.task.train_data)
    records = tf.data.TFRecordDataset(sorted(map(str, layout.split("train").glob("*.tfrecord"))))
    for record in records:
        with traced_as(config.task):
            sample = decoder.decode(record)
            image, labels = parse(dict(sample))
        wanted = inference(layout, "train", int(sample["source_id"].numpy()), resize)
        assert np.abs(to_pixels(image) - wanted).max() <= ONE_LEVEL
        if "gt_boxes" not in labels:
            continue
        fractions = sample["groundtruth_boxes"].numpy()[0]
        factors = labels["image_info"].numpy()[2] * [int(sample["height"]), int(sample["width"])]
        np.testing.assert_allclose(labels["gt_boxes"].numpy()[0], fractions * np.tile(factors, 2), rtol=1e-5)
        # The mask within its box does not depend on how the image is scaled: the object fills its box.
        mask = labels["gt_masks"].numpy()[0]
        assert mask[8:-8, 8:-8].min() > 0.99


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"validation_data": {"parser": {"keep_aspect_ratio": False}}}, "keep_aspect_ratio: false contradicts resize"),
        ({"resize": "crop"}, "resize: found 'crop', expected letterbox or stretch"),
    ],
    ids=["parser", "unknown"],
)
def test_one_parameter_alone_says_how_images_are_resized(overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        experiment(overrides={"task": overrides})


def test_model_gardens_functions_are_its_own_again_after_an_error() -> None:
    names = ("resize_and_crop_image", "normalize_image")
    originals = [getattr(preprocess_ops, name) for name in names]
    decode_image = tf_example_decoder.TfExampleDecoder._decode_image

    def fail() -> None:
        with traced_as(experiment(resize="stretch").task):
            assert all(getattr(preprocess_ops, name) not in originals for name in names)
            assert tf_example_decoder.TfExampleDecoder._decode_image is not decode_image
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [getattr(preprocess_ops, name) for name in names] == originals
    assert tf_example_decoder.TfExampleDecoder._decode_image is decode_image
