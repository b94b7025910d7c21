"""Training batches: every image once an epoch, cached or not, and changed as the parameters say; targets and losses."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.configs import common
from official.vision.dataloaders import tf_example_decoder
from official.vision.tasks import retinanet

from stages.core.base.layout import Layout
from stages.core.datasets.prepare import prepare_data
from stages.core.params.steps import PrepareParams
from stages.core.training import augmentation, input_pipeline
from stages.core.training.clock import TrainingLength
from stages.core.training.input_pipeline import MASKS, build_training_dataset, compact_masks, decoded_size_mb
from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.roi_sampling import CROWD
from stages.core.training.parsers import maskrcnn_parser, retinanet_parser
from stages.core.training.tasks import TrainingSetup, build_training_task
from stages.core.training.weighting import balance_classes
from tests.dataset_builder import coco_annotation, coco_tree, polygon, write_coco
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow

NUM_IMAGES = 12
SIZE = [64, 64]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Twelve synthetic images of 64x64 for training."""
    layout = Layout(tmp_path_factory.mktemp("prepared"))
    spec = {"num_train": NUM_IMAGES, "num_val": 2, "num_test": 0, "size": 64}
    params = PrepareParams.model_validate({"synthetic": spec, "calibration_images": 2})
    prepare_data(params, folder=layout.root, out_dir=layout.prepared)
    return layout


def train_data(layout: Layout, model: str = "retinanet_mobiledet_tiny", **settings: Any) -> Any:
    config = experiment(model, input_size=SIZE, batch_size=4, **settings)
    for data in (config.task.train_data, config.task.validation_data):
        data.input_path = str(layout.root / data.input_path)
    config.task.annotation_file = str(layout.root / config.task.annotation_file)
    return config


def task_of(layout: Layout, config: Any) -> Any:
    setup = TrainingSetup(
        annotations=layout.annotations("train"),
        length=TrainingLength(steps=100, max_minutes=None),
        average_follows_clock=True,
    )
    return build_training_task(config, setup, logging_dir=layout.root / "log")


def sources(
    layout: Layout, *, cached: bool, batches: int, seed: int = 0, factors: dict[int, float] | None = None
) -> list[str]:
    """Ids of the images in the first batches."""
    params = train_data(layout, seed=seed).task.train_data
    dataset = build_training_dataset(
        params,
        decode=tf_example_decoder.TfExampleDecoder().decode,
        augment=lambda samples: samples,
        parse=lambda sample: (sample["source_id"], 0),
        cached=cached,
        factors=factors,
    )
    return [source.decode() for ids, _ in dataset.take(batches) for source in ids.numpy()]


@pytest.mark.parametrize("cached", [False, True])
def test_every_image_comes_once_an_epoch_in_another_order(layout: Layout, cached: bool) -> None:
    found = sources(layout, cached=cached, batches=6)
    first, second = found[:NUM_IMAGES], found[NUM_IMAGES:]
    assert max(Counter(first).values()) == max(Counter(second).values()) == 1
    assert first != second


@pytest.mark.parametrize("cached", [False, True])
def test_an_image_of_a_rare_class_comes_more_often(layout: Layout, cached: bool) -> None:
    factors = {**dict.fromkeys(range(1, NUM_IMAGES + 1), 1.0), 5: 5.0}
    found = sources(layout, cached=cached, batches=8, factors=factors)
    for epoch in (found[: NUM_IMAGES + 4], found[NUM_IMAGES + 4 :]):
        assert Counter(epoch) == {**{str(key): 1 for key in factors}, "5": 5}
    repeated = "".join("5" if source == "5" else "." for source in found[: NUM_IMAGES + 4])
    assert "55555" not in repeated, "copies are shuffled apart"


def test_balanced_sampling_is_a_parameter(layout: Layout) -> None:
    """The synthetic images show some classes in more images than others."""
    config = train_data(layout, sampling="balanced", sampling_threshold=1.0)
    task = task_of(layout, config)
    factors = task._factors()
    assert sorted(factors) == list(range(1, NUM_IMAGES + 1))
    assert max(factors.values()) > 1
    images, _ = next(iter(task.build_inputs(config.task.train_data)))
    assert images.shape == (4, *SIZE, 3)
    assert task_of(layout, train_data(layout))._factors() is None


@pytest.mark.parametrize("cached", [False, True])
def test_the_seed_is_the_order(layout: Layout, cached: bool) -> None:
    orders = [sources(layout, cached=cached, batches=3, seed=seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("model", ["retinanet_mobiledet_tiny", "maskrcnn_tiny"])
def test_caching_changes_no_batch(layout: Layout, model: str) -> None:
    """The cache and its compact masks give what decoding anew gives. RPN targets are a random sample of anchors."""
    still = {"horizontal_flip": False, "scale_min": 1.0, "scale_max": 1.0}
    batches = []
    for cache_mb in (0, 1000):
        config = train_data(layout, model, augmentation=still, image_cache_mb=cache_mb)
        config.task.train_data.shuffle_buffer_size = 1
        batches.append(next(iter(task_of(layout, config).build_inputs(config.task.train_data))))
    (plain, plain_labels), (cached, cached_labels) = batches
    np.testing.assert_allclose(plain, cached, atol=1e-5)
    exact = {name: value for name, value in plain_labels.items() if not name.startswith("rpn")}
    assert exact.keys() & {"gt_masks", "cls_targets"}
    tf.nest.map_structure(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5),
        exact,
        {name: cached_labels[name] for name in exact},
    )


def test_the_size_of_a_decoded_split_counts_images_and_masks(tmp_path: Path) -> None:
    images = [{"id": 1, "height": 1000, "width": 2000}, {"id": 2, "height": 1000, "width": 1000}]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": [{"image_id": 1}, {"image_id": 1}, {"image_id": 2}]}))
    assert decoded_size_mb(path, with_masks=False) == pytest.approx(9)
    assert decoded_size_mb(path, with_masks=True) == pytest.approx(9 + 5)


@pytest.mark.parametrize(
    ("size_mb", "limit_mb", "memory", "cached", "said"),
    [
        (100, 2000, 8000, True, ""),
        (3000, 2000, 8000, False, "3000 MB decoded, more than train.x.image_cache_mb 2000"),
        (5000, 10**6, 8000, False, "more than half of this machine's 8000 MB"),
        (100, 0, 8000, False, ""),
    ],
    ids=["fits", "above_the_limit", "limit_above_the_memory", "switched_off"],
)
def test_what_does_not_fit_is_not_cached_and_said(
    monkeypatch: pytest.MonkeyPatch, size_mb: float, limit_mb: float, memory: float, cached: bool, said: str
) -> None:
    monkeypatch.setattr(input_pipeline, "memory_mb", lambda: memory)
    assert input_pipeline.is_cached(size_mb, limit_mb) is cached
    line = input_pipeline.describe_cache(size_mb, limit_mb, "train.x")
    assert said in line
    assert bool(line) is bool(said)


def test_the_partners_of_a_mixture_are_the_samples_that_follow() -> None:
    numbers = tf.data.Dataset.range(9).map(lambda number: {"image": number})
    found = [[int(sample["image"]) for sample in group] for group in augmentation._with_followers(numbers, 3)]
    assert found == [[start, start + 1, start + 2, start + 3] for start in range(6)]


def test_masks_are_compact() -> None:
    masks = compact_masks({MASKS: tf.constant([[[0.0, 1.0]]])})[MASKS]
    assert masks.dtype == tf.uint8
    assert masks.numpy().tolist() == [[[0, 1]]]


@pytest.mark.parametrize(
    "augmentation",
    [
        {"orientation_free": True},
        {"color_jitter": 1.0},
        {"random_crop": 1.0},
        {"mosaic": 1.0},
        {"mix_up": 1.0},
        {"copy_paste": 1.0},
        {"orientation_free": True, "color_jitter": 0.5, "random_crop": 0.5, "mosaic": 0.5, "mix_up": 0.5},
    ],
    ids=lambda value: "+".join(value),
)
@pytest.mark.parametrize("model", ["retinanet_mobiledet_tiny", "maskrcnn_tiny"])
def test_every_augmentation_gives_batches(layout: Layout, model: str, augmentation: dict[str, Any]) -> None:
    config = train_data(layout, model, augmentation=augmentation)
    task = task_of(layout, config)
    images, _ = next(iter(task.build_inputs(config.task.train_data)))
    assert images.shape == (4, *SIZE, 3)
    assert np.isfinite(images).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"aug_rand_jpeg": common.RandJpegQuality(prob_to_apply=0.5)},
        {"aug_type": common.Augmentation(type="ssd_random_crop", ssd_random_crop=common.SSDRandomCrop())},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_augmentations_that_branch_on_tensors_give_batches(layout: Layout, changes: dict[str, Any]) -> None:
    """Model Garden's own, by `overrides`: they need AutoGraph, without which everything else is traced."""
    config = train_data(layout)
    for name, value in changes.items():
        setattr(config.task.train_data.parser, name, value)
    images, _ = next(iter(task_of(layout, config).build_inputs(config.task.train_data)))
    assert np.isfinite(images).all()


def test_mosaics_end_before_the_training(layout: Layout) -> None:
    """With a plain share of 1 no image is ever a mosaic."""
    still = {"horizontal_flip": False, "scale_min": 1.0, "scale_max": 1.0}
    first: list[np.ndarray] = []
    for changes in ({}, {"mosaic": 1.0, "plain_share": 1.0}, {"mosaic": 1.0, "plain_share": 0.0}):
        config = train_data(layout, augmentation={**still, **changes})
        config.task.train_data.shuffle_buffer_size = 1
        first.append(next(iter(task_of(layout, config).build_inputs(config.task.train_data)))[0].numpy())
    np.testing.assert_array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Six pictures of 96 x 64 with an object on the left and a crowd that is their right half."""
    tmp_path = tmp_path_factory.mktemp("crowded")
    crowd = coco_annotation(id=99, iscrowd=1, bbox=[48.0, 0.0, 48.0, 64.0], segmentation=polygon((48, 0, 96, 64)))
    tree = coco_tree(6)
    tree["annotations"] += [{**crowd, "id": 100 + number, "image_id": number} for number in range(6)]
    write_coco(tmp_path / "raw", tree)
    layout = Layout(tmp_path)
    params = {
        "source": "coco",
        "path": str(tmp_path / "raw"),
        "num_shards": 1,
        "calibration_images": 2,
        "split": {"val": 0.2},
    }
    prepare_data(PrepareParams.model_validate(params), folder=tmp_path / "raw", out_dir=layout.prepared)
    return layout


def parse_first(layout: Layout, model: str, parser: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Labels of the first training image, and the share of every anchor that lies in its crowd."""
    still = {"horizontal_flip": False, "scale_min": 1.0, "scale_max": 1.0}
    config = train_data(layout, model, augmentation=still)
    record = next(iter(tf.data.TFRecordDataset(sorted(map(str, layout.split("train").glob("*.tfrecord"))))))
    sample = tf_example_decoder.TfExampleDecoder(include_mask=model.startswith("maskrcnn")).decode(record)
    _, labels = parser(config.task, config.task.train_data)(sample)
    anchors = np.concatenate([level.numpy().reshape(-1, 4) for level in labels["anchor_boxes"].values()])
    # The picture is scaled to 64 x 42.7.
    low, high = np.maximum(anchors[:, :2], (0, 32)), np.minimum(anchors[:, 2:], (64 * 2 / 3, 64))
    share = np.prod(np.maximum(high - low, 0), axis=1) / np.prod(anchors[:, 2:] - anchors[:, :2], axis=1)
    return labels, share


def test_anchors_in_a_crowd_are_ignored(crowded: Layout) -> None:
    labels, share = parse_first(crowded, "retinanet_mobiledet_tiny", retinanet_parser)
    weights, is_negative = labels["cls_weights"].numpy(), labels["box_weights"].numpy() == 0
    within, outside = (share > 0.51) & is_negative, share < 0.49
    assert within.sum() > 5
    assert not weights[within].any()
    assert weights[outside].all()


def test_proposals_in_a_crowd_are_no_negatives_and_crowds_reach_the_second_stage(crowded: Layout) -> None:
    labels, share = parse_first(crowded, "maskrcnn_tiny", maskrcnn_parser)
    scores = np.concatenate([level.numpy().ravel() for level in labels["rpn_score_targets"].values()])
    assert (share > 0.51).sum() > 5
    assert set(scores[share > 0.51]) <= {-1, 1}
    assert (scores[share < 0.49] == 0).sum() > 5
    assert (scores == 1).any()
    classes, boxes = labels["gt_classes"].numpy(), labels["gt_boxes"].numpy()
    assert classes[0] > 0
    assert classes[1:].tolist() == [CROWD] + [-1] * (len(classes) - 2)
    np.testing.assert_allclose(boxes[1], [0, 32, 64 * 2 / 3, 64], atol=0.5)  # cut to whole pixels
    assert labels["gt_masks"].numpy()[0].max() > 0.5


@pytest.fixture(scope="module")
def labels_by_assigner(layout: Layout) -> dict[str, Any]:
    """The labels of a batch; nothing but the assigner changes them."""
    found = {}
    for assigner in ASSIGNERS:
        config = train_data(layout, losses={"assigner": assigner})
        _, found[assigner] = next(iter(task_of(layout, config).build_inputs(config.task.train_data)))
    return found


def random_outputs(config: Any, labels: Any) -> dict[str, Any]:
    """Outputs of a head that knows nothing."""
    generator = np.random.default_rng(0)
    per_cell = 9
    outputs: dict[str, dict[str, tf.Tensor]] = {"cls_outputs": {}, "box_outputs": {}}
    for level, anchors in labels["anchor_boxes"].items():
        cells = anchors.shape[1:3]
        for name, channels in (("cls_outputs", config.task.model.num_classes), ("box_outputs", 4)):
            shape = (4, *cells, per_cell * channels)
            outputs[name][level] = tf.constant(generator.normal(0, 0.5, shape), tf.float32)
    return outputs


def test_the_default_losses_are_model_gardens(layout: Layout, labels_by_assigner: dict[str, Any]) -> None:
    config = train_data(layout)
    task, labels = task_of(layout, config), labels_by_assigner[config.task.methods.assigner]
    outputs = random_outputs(config, labels)
    ours = task.build_losses(outputs, labels)
    theirs = retinanet.RetinaNetTask.build_losses(task, outputs, labels)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize(
    "losses", [{"box": "giou"}, {"box": "ciou", "classes": "quality_focal"}, {"classes": "varifocal"}]
)
def test_every_method_gives_a_finite_loss(
    layout: Layout, labels_by_assigner: dict[str, Any], assigner: str, losses: dict[str, str]
) -> None:
    config = train_data(layout, losses={"assigner": assigner, "class_weights": "balanced", **losses})
    labels = labels_by_assigner[assigner]
    found = task_of(layout, config).build_losses(random_outputs(config, labels), labels)
    values = np.asarray([float(value) for value in found])
    assert np.isfinite(values).all()
    assert (values > 0).all()


def test_rare_classes_weigh_more_and_the_mean_is_one(tmp_path: Path) -> None:
    annotations = [{"category_id": 1}] * 90 + [{"category_id": 2}] * 10 + [{"category_id": 2, "iscrowd": 1}] * 80
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"annotations": annotations}))
    background, common, rare, absent = balance_classes(path, num_classes=4)
    assert (background, absent) == (1.0, 1.0)
    assert rare / common == pytest.approx(3.0)  # the square root of nine
    assert (90 * common + 10 * rare) / 100 == pytest.approx(1.0)
