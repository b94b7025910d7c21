"""The static graphs against Model Garden's own models, on the same weights and pixels."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.ops import box_ops

from stages.core.base.errors import ArtifactError
from stages.core.detectors.anchors import level_anchors
from stages.core.exporting.export import describe_graph
from stages.core.exporting.graph import DeploymentGraph, PostProcessingSettings, normalize_pixels
from stages.core.exporting.maskrcnn import build_maskrcnn_graph
from stages.core.exporting.retinanet import RAW_BOXES, RAW_SCORES, build_retinanet_graph
from stages.core.params.steps import ExportParams
from stages.core.tables.detectors import SIGNED
from tests.builders import train_result
from tests.core.exporting.test_boxes import iou, suppress_by_hand
from tests.exported_project import SIZE, random_model
from tests.run_graph import run_graph

pytestmark = pytest.mark.slow


def settings(**changes: Any) -> PostProcessingSettings:
    base = {"max_detections": 20, "score_threshold": 0.05, "nms_iou_threshold": 0.5, "num_proposals": 64}
    return PostProcessingSettings(**ExportParams(**base | changes).model_dump())


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    return np.floor(tf.image.resize(coarse, (SIZE, SIZE)).numpy())


def normalized(pixels: np.ndarray) -> tf.Tensor:
    return normalize_pixels(tf.constant(pixels), SIGNED)


@pytest.fixture(scope="module")
def maskrcnn() -> tuple[Any, Any, DeploymentGraph]:
    config, model = random_model("maskrcnn_tiny")
    return config, model, build_maskrcnn_graph(config.task.model, model, settings())


def check_findings(
    config: Any, model: Any, graph: DeploymentGraph, seed: int, *, all_candidates: bool = False
) -> dict[str, np.ndarray]:
    """The graph's outputs on a picture, once they are those of the model that was trained.

    Args:
      all_candidates: Whether regions are suppressed among all candidates of a level, as in training's evaluations.
    """
    generator = config.task.model.roi_generator
    assert generator.test_num_proposals == settings().num_proposals
    # The suppressions that the graph replaces: exact, class-aware, equal scores in index order.
    model.roi_generator._config_dict["use_batched_nms"] = all_candidates
    model.detection_generator._config_dict.update(
        nms_version="v2", pre_nms_score_threshold=0.05, nms_iou_threshold=0.5, max_num_detections=20
    )
    expected = model(normalized(picture(seed)), image_shape=tf.constant([[SIZE, SIZE]], tf.float32), training=False)
    found, _ = run_graph(graph, picture(seed))
    num = int(expected["num_detections"][0])
    assert num > 0
    assert found["num_detections"].tolist() == [num]
    np.testing.assert_allclose(found["detection_scores"], expected["detection_scores"], atol=1e-4)
    np.testing.assert_allclose(found["detection_boxes"], expected["detection_boxes"] / SIZE, atol=1e-4)
    classes = found["detection_classes"][0, :num] + graph.class_offset
    assert classes.tolist() == expected["detection_classes"][0, :num].numpy().tolist()
    np.testing.assert_allclose(found["detection_masks"][0, :num], expected["detection_masks"][0, :num], atol=1e-4)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_maskrcnn_finds_what_model_garden_finds(maskrcnn: tuple[Any, Any, DeploymentGraph], seed: int) -> None:
    check_findings(*maskrcnn, seed)


def test_maskrcnn_with_all_candidates_finds_what_trainings_evaluations_find(
    maskrcnn: tuple[Any, Any, DeploymentGraph],
) -> None:
    """Model Garden's batched suppression does not cut what it looks at, whatever `test_pre_nms_top_k` says."""
    config, model, few = maskrcnn
    graph = build_maskrcnn_graph(config.task.model, model, settings(proposal_pre_nms_top_k=40_000))
    found = check_findings(config, model, graph, 0, all_candidates=True)
    assert not np.allclose(found["detection_boxes"], run_graph(few, picture(0))[0]["detection_boxes"], atol=1e-3)


def test_maskrcnn_with_other_regions_finds_what_was_trained() -> None:
    aligners = {
        "roi_aligner": {"crop_size": 5, "sampling_ratio": 2},
        "mask_roi_aligner": {"crop_size": 10, "sampling_ratio": 2},
    }
    config, model = random_model("maskrcnn_tiny", **aligners)
    graph = build_maskrcnn_graph(config.task.model, model, settings())
    found = check_findings(config, model, graph, seed=0)
    assert found["detection_masks"].shape[2:] == (20, 20)
    assert graph.outputs[-1].shape[2:] == (20, 20)


def test_rows_after_the_last_detection_are_zero(maskrcnn: tuple[Any, Any, DeploymentGraph]) -> None:
    config, model, _ = maskrcnn
    graph = build_maskrcnn_graph(config.task.model, model, settings(score_threshold=0.999))
    found, _ = run_graph(graph, picture(0))
    assert found["num_detections"].tolist() == [0.0]
    assert all(not values.any() for values in found.values())


@pytest.mark.parametrize(
    ("change", "says"),
    [({"include_mask": False}, "include_mask"), ({"outer_boxes_scale": 1.2}, "outer_boxes_scale")],
    ids=["no_masks", "outer_boxes"],
)
def test_maskrcnn_variants_that_have_no_graph(
    maskrcnn: tuple[Any, Any, DeploymentGraph], change: dict[str, Any], says: str
) -> None:
    config, model, _ = maskrcnn
    with pytest.raises(ArtifactError, match=says):
        build_maskrcnn_graph(config.task.model.replace(**change), model, settings())


@pytest.fixture(scope="module")
def retinanet() -> tuple[Any, Any, DeploymentGraph]:
    config, model = random_model("retinanet_mobiledet_tiny")
    return config, model, build_retinanet_graph(config.task.model, model, settings(score_threshold=0.0))


def test_raw_heads_are_the_models_own(retinanet: tuple[Any, Any, DeploymentGraph]) -> None:
    config, model, graph = retinanet
    expected = model(normalized(picture(0)), image_shape=tf.constant([[SIZE, SIZE]], tf.float32), training=False)
    _, raw = run_graph(graph, picture(0))
    levels = [str(level) for level in range(config.task.model.min_level, config.task.model.max_level + 1)]
    boxes = np.concatenate([np.reshape(expected["box_outputs"][level], (-1, 4)) for level in levels])
    logits = np.concatenate([np.reshape(expected["cls_outputs"][level], (-1, 4)) for level in levels])
    np.testing.assert_allclose(raw[RAW_BOXES][0], boxes, atol=1e-2 * np.abs(boxes).max())
    np.testing.assert_allclose(raw[RAW_SCORES][0], tf.sigmoid(logits), atol=1e-2)


def test_the_best_detection_is_model_gardens_decoding(retinanet: tuple[Any, Any, DeploymentGraph]) -> None:
    config, _, graph = retinanet
    found, raw = run_graph(graph, picture(1))
    anchors = level_anchors(config.task.model, (SIZE, SIZE))
    corners = np.concatenate([anchors[level] for level in sorted(anchors)])
    best = int(raw[RAW_SCORES][0, :, 1:].max(axis=1).argmax())
    expected = box_ops.decode_boxes(raw[RAW_BOXES][0, best : best + 1], corners[best : best + 1])
    np.testing.assert_allclose(found["detection_boxes"][0, 0], np.clip(expected[0] / SIZE, 0, 1), rtol=1e-4, atol=1e-5)
    assert found["detection_scores"][0, 0] == raw[RAW_SCORES][0, best, 1:].max()
    assert found["detection_classes"][0, 0] == raw[RAW_SCORES][0, best, 1:].argmax()


def test_anchors_tile_the_input(retinanet: tuple[Any, Any, DeploymentGraph]) -> None:
    config, _, _ = retinanet
    anchors = level_anchors(config.task.model, (SIZE, SIZE))
    per_cell = config.task.model.anchor.num_scales * len(config.task.model.anchor.aspect_ratios)
    for level, boxes in anchors.items():
        assert len(boxes) == (SIZE >> int(level)) ** 2 * per_cell
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert centers.min() == pytest.approx(2 ** int(level) / 2)


@pytest.mark.parametrize("agnostic", [False, True], ids=["class_aware", "class_agnostic"])
def test_retinanet_gives_what_plain_suppression_leaves(
    retinanet: tuple[Any, Any, DeploymentGraph], agnostic: bool
) -> None:
    config, model, graph = retinanet
    _, raw = run_graph(graph, picture(2))
    scores = raw[RAW_SCORES][0, :, 1:].reshape(-1)
    floor = float(np.sort(scores)[-150])
    anchors = level_anchors(config.task.model, (SIZE, SIZE))
    corners = np.concatenate([anchors[level] for level in sorted(anchors)])
    chosen = np.flatnonzero(scores >= floor)
    decoded = box_ops.decode_boxes(raw[RAW_BOXES][0], corners).numpy()[chosen // 3]
    groups = np.zeros(len(chosen)) if agnostic else chosen % 3
    kept = suppress_by_hand(decoded, scores[chosen], groups, 20, 0.5, floor)

    changed = settings(score_threshold=floor, class_agnostic_nms=agnostic)
    found, _ = run_graph(build_retinanet_graph(config.task.model, model, changed), picture(2))

    num = int(found["num_detections"][0])
    assert num == len(kept) > 2
    np.testing.assert_allclose(found["detection_scores"][0, :num], scores[chosen][kept], rtol=1e-6)
    assert found["detection_classes"][0, :num].tolist() == (chosen % 3)[kept].tolist()
    # Whole boxes are compared with each other; what comes out ends at the input's border.
    assert decoded[kept].min() < 0 or decoded[kept].max() > SIZE
    expected = np.clip(decoded[kept], 0, SIZE)
    np.testing.assert_allclose(found["detection_boxes"][0, :num] * SIZE, expected, rtol=1e-4, atol=1e-3)
    assert all(not found[name][0, num:].any() for name in found if name != "num_detections")


def test_suppression_sees_the_best_candidates_only(retinanet: tuple[Any, Any, DeploymentGraph]) -> None:
    config, model, graph = retinanet
    few = build_retinanet_graph(config.task.model, model, settings(pre_nms_top_k=3))
    found, all_found = (run_graph(built, picture(0))[0] for built in (few, graph))
    assert 1 <= found["num_detections"][0] <= 3 < all_found["num_detections"][0]
    assert found["detection_scores"][0, 0] == all_found["detection_scores"][0, 0]


def test_maskrcnn_classes_suppress_each_other_if_asked(maskrcnn: tuple[Any, Any, DeploymentGraph]) -> None:
    config, model, aware = maskrcnn
    changed = settings(class_agnostic_nms=True)
    graph = build_maskrcnn_graph(config.task.model, model, changed)
    assert (aware.method.split(",")[0], graph.method.split(",")[0]) == (
        "class-aware non-maximum suppression of the best 5000 candidates",
        "class-agnostic non-maximum suppression of the best 5000 candidates",
    )
    worst = {}
    for name, built in (("aware", aware), ("agnostic", graph)):
        found, _ = run_graph(built, picture(0))
        boxes = found["detection_boxes"][0, : int(found["num_detections"][0])]
        assert len(boxes) > 1
        worst[name] = max(iou(box, other) for index, box in enumerate(boxes) for other in boxes[:index])
    assert worst["agnostic"] <= changed.nms_iou_threshold < worst["aware"]


def test_no_signature_holds_the_op_that_tensorflow_cannot_compute(
    maskrcnn: tuple[Any, Any, DeploymentGraph], retinanet: tuple[Any, Any, DeploymentGraph]
) -> None:
    graph = retinanet[2]
    assert graph.with_op is not None
    assert set(graph.signatures) == {"serving_default", "raw_heads"}
    assert graph.with_op not in graph.signatures.values()
    assert (maskrcnn[2].with_op, set(maskrcnn[2].signatures)) == (None, {"serving_default"})
    found, raw = run_graph(graph, picture(0))
    assert found["num_detections"].tolist() == [20.0]
    assert set(raw) == {RAW_BOXES, RAW_SCORES}


@pytest.mark.parametrize(
    ("trained", "export", "judged"),
    [
        ("letterbox", "as_trained", "fit_pad"),
        ("stretch", "as_trained", "stretch"),
        ("letterbox", "stretch", "stretch"),
        ("stretch", "letterbox", "fit_pad"),
    ],
)
def test_files_can_be_fed_in_another_way_than_the_training(trained: str, export: str, judged: str) -> None:
    graph = DeploymentGraph(detect=None, outputs=(), class_offset=1, method="by hand")
    task = SimpleNamespace(resize=trained, model=SimpleNamespace(pixels=SIGNED))
    interface = describe_graph(
        graph, train_result("retinanet_mobiledet_tiny"), {1: "circle"}, settings(resize=export), task
    )
    assert interface.input.resize == judged
