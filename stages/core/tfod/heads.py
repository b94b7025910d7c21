"""Losses, matching, regions and post-processing: fields that are parameters one to one, and the few that are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.core.tables.detectors import Family
from stages.core.tfod.conversion import ConfigConversion, symbol

MOST_DETECTIONS = 300
"""Of `export.max_detections`."""
PARSER, LOSSES = "train.overrides.task.train_data.parser", "train.overrides.task.losses"
CODER = "train.overrides.task.model.detection_generator.box_coder_weights"
SCALES = ("y_scale", "x_scale", "height_scale", "width_scale")
SSD_LOSS = "model.ssd.loss"
SCORES = {"ssd": "SIGMOID", "faster_rcnn": "SOFTMAX"}
"""How the rows' logits become scores."""
SOFT_NMS = "suppression here is hard"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A field of the API and the parameter that says the same.

    Attributes:
      path: The field, below `model.ssd` or `model.faster_rcnn` unless it begins with train_config.
      parameter: Dotted key.
      default: What the API takes where the field is not there; None: nothing is set then.
      row: What a row here has unless the parameter says otherwise, where that is in no params file.
      otherwise: Parameter that counts where `parameter` is null.
    """

    path: str
    parameter: str
    default: bool | int | float | None
    row: bool | int | float | None = None
    otherwise: str | None = None


def _suppression(outer: str) -> tuple[Pair, ...]:
    nms = f"{outer}.batch_non_max_suppression"
    return (
        Pair(path=f"{nms}.score_threshold", parameter="export.score_threshold", default=0.0),
        Pair(path=f"{nms}.iou_threshold", parameter="export.nms_iou_threshold", default=0.6),
        Pair(path=f"{nms}.max_total_detections", parameter="export.max_detections", default=100),
        Pair(path=f"{nms}.use_class_agnostic_nms", parameter="export.class_agnostic_nms", default=False),
    )


_OBJECTS = Pair(path="train_config.max_number_of_boxes", parameter=f"{PARSER}.max_num_instances", default=100, row=100)
_MATCHER, _FOCAL = "matcher.argmax_matcher", "loss.classification_loss.weighted_sigmoid_focal"


def _one_stage(alpha: float, gamma: float) -> tuple[Pair, ...]:
    return (
        *_suppression("post_processing"),
        Pair(path=f"{_FOCAL}.alpha", parameter=f"{LOSSES}.focal_loss_alpha", default=None, row=alpha),
        Pair(path=f"{_FOCAL}.gamma", parameter=f"{LOSSES}.focal_loss_gamma", default=None, row=gamma),
        Pair(path=f"{_MATCHER}.matched_threshold", parameter=f"{PARSER}.match_threshold", default=0.5, row=0.5),
        Pair(path=f"{_MATCHER}.unmatched_threshold", parameter=f"{PARSER}.unmatched_threshold", default=0.5, row=0.5),
        _OBJECTS,
    )


PAIRS: Mapping[Family, tuple[Pair, ...]] = {
    Family.RETINANET: _one_stage(alpha=0.25, gamma=1.5),
    Family.SSDLITE: _one_stage(alpha=0.75, gamma=2.0),
    Family.MASKRCNN: (
        *_suppression("second_stage_post_processing"),
        Pair(
            path="first_stage_max_proposals",
            parameter="export.num_proposals",
            default=300,
            row=500,
            otherwise="train.regions.test_num_proposals",
        ),
        Pair(
            path="first_stage_nms_iou_threshold",
            parameter="train.overrides.task.model.roi_generator.nms_iou_threshold",
            default=0.7,
            row=0.7,
        ),
        Pair(path="first_stage_minibatch_size", parameter=f"{PARSER}.rpn_batch_size_per_im", default=256, row=256),
        Pair(path="first_stage_positive_balance_fraction", parameter=f"{PARSER}.rpn_fg_fraction", default=0.5, row=0.5),
        Pair(path="second_stage_batch_size", parameter="train.regions.num_sampled_rois", default=64, row=128),
        Pair(
            path="second_stage_balance_fraction",
            parameter="train.overrides.task.model.roi_sampler.foreground_fraction",
            default=0.25,
            row=0.25,
        ),
        _OBJECTS,
    ),
}
"""Family of the row to its pairs."""


def full_path(pair: Pair, meta: str) -> str:
    """A pair's field from the top of the config."""
    return pair.path if pair.path.startswith("train_config.") else f"model.{meta}.{pair.path}"


def import_heads(conversion: ConfigConversion) -> None:
    """Sets post-processing, losses, matching and sampling."""
    meta = conversion.counterpart.meta
    for pair in PAIRS[conversion.counterpart.detector.family]:
        path = full_path(pair, meta)
        if pair.default is not None or conversion.find(path) is not None:
            _import_pair(conversion, pair, path)
    outer = f"model.{meta}.{'' if meta == 'ssd' else 'second_stage_'}post_processing"
    field = conversion.find(f"{outer}.score_converter")
    if field is not None and symbol(field.value) != SCORES[meta]:
        conversion.excuse(f"{outer}.score_converter", f"scores of the row are {SCORES[meta]}")
    elif field is not None:
        conversion.excuse(f"{outer}.score_converter", "as in the row")
    conversion.excuse(f"{outer}.batch_non_max_suppression.soft_nms_sigma", SOFT_NMS)
    if meta == "ssd":
        _import_ssd_losses(conversion)


def _import_pair(conversion: ConfigConversion, pair: Pair, path: str) -> None:
    if isinstance(pair.default, bool):
        conversion.give(path, pair.parameter, conversion.flag(path, pair.default))
        return
    value: float
    if isinstance(pair.default, int):
        value = conversion.integer(path, pair.default)
    else:
        value = conversion.number(path, pair.default or 0.0)
    note = ""
    if pair.parameter == "export.max_detections" and value > MOST_DETECTIONS:
        note, value = f"the most there can be: {MOST_DETECTIONS}", MOST_DETECTIONS
    conversion.give(path, pair.parameter, value, note, write=pair.row is None or value != pair.row)


def _import_ssd_losses(conversion: ConfigConversion) -> None:
    """Box codes, box loss and the weight between the two losses.

    The API sums the Huber loss over a box's four numbers, or takes their mean if `normalize_loc_loss_by_codesize`;
    Model Garden takes the mean. Both divide by the number of matched anchors.
    """
    coder, row = "model.ssd.box_coder.faster_rcnn_box_coder", ROW_LOSSES[conversion.counterpart.detector.family]
    if conversion.one_of("model.ssd.box_coder") == "faster_rcnn_box_coder":
        weights = [conversion.number(f"{coder}.{name}", 10.0 if name in SCALES[:2] else 5.0) for name in SCALES]
        for name in SCALES:
            conversion.give(f"{coder}.{name}", CODER, weights, write=tuple(weights) != row.coder)
    kind = conversion.one_of(f"{SSD_LOSS}.localization_loss")
    path = f"{SSD_LOSS}.localization_loss.{kind}"
    if kind == "weighted_giou":
        conversion.give(path, "train.losses.box", "giou")
    elif kind == "weighted_smooth_l1":
        delta = conversion.number(f"{path}.delta", 1.0)
        conversion.give(f"{path}.delta", f"{LOSSES}.huber_loss_delta", delta, write=delta != row.delta)
        _import_loss_weights(conversion, row)
    elif kind:
        conversion.excuse(path, "box losses here: Huber (smooth L1), GIoU, CIoU")
    kind = conversion.one_of(f"{SSD_LOSS}.classification_loss")
    if kind and kind != "weighted_sigmoid_focal":
        reason = "class losses here are focal: losses.classes"
        conversion.excuse(f"{SSD_LOSS}.classification_loss.{kind}", reason)


@dataclass(frozen=True, kw_only=True)
class RowLosses:
    """What a row's configuration has unless `overrides` say otherwise.

    Attributes:
      delta: Of the Huber loss. weight: Of the box loss. coder: Weights of the box codes.
    """

    delta: float
    weight: int
    coder: tuple[float, float, float, float]


ROW_LOSSES: Mapping[Family, RowLosses] = {
    Family.RETINANET: RowLosses(delta=0.1, weight=50, coder=(1.0, 1.0, 1.0, 1.0)),
    Family.SSDLITE: RowLosses(delta=1.0, weight=1, coder=(10.0, 10.0, 5.0, 5.0)),
}


def _import_loss_weights(conversion: ConfigConversion, row: RowLosses) -> None:
    boxes, classes = (
        conversion.number(f"{SSD_LOSS}.{kind}_weight", 1.0) for kind in ("localization", "classification")
    )
    if classes <= 0:
        return
    is_mean = conversion.flag("model.ssd.normalize_loc_loss_by_codesize", False)
    exact = boxes / classes * (1 if is_mean else 4)
    weight = max(1, round(exact))  # Model Garden's configuration takes whole numbers only
    note = "" if is_mean else "times 4: Model Garden takes the mean over a box's four numbers"
    if abs(weight - exact) > 1e-6:
        note = f"{f'{note}; ' if note else ''}whole numbers only, {exact:g} asked for"
    write = weight != row.weight
    for path in (f"{SSD_LOSS}.localization_weight", "model.ssd.normalize_loc_loss_by_codesize"):
        conversion.give(path, f"{LOSSES}.box_loss_weight", weight, note, write=write)
    conversion.give(f"{SSD_LOSS}.classification_weight", f"{LOSSES}.loss_weight", classes, write=classes != 1.0)


def ssd_loss_message(settings: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Fields of the API's `ssd` message that state the losses and the box codes of a row.

    Args:
      settings: `train.<model>`, with its overrides.
      family: Of the row.
    """
    row = ROW_LOSSES[family]
    task = settings["overrides"].get("task", {})
    losses = task.get("losses", {})
    weights = task.get("model", {}).get("detection_generator", {}).get("box_coder_weights") or row.coder
    scale = losses.get("loss_weight", 1.0)
    box = {"weighted_smooth_l1": {"delta": losses.get("huber_loss_delta", row.delta)}}
    return {
        "box_coder.faster_rcnn_box_coder": dict(zip(SCALES, map(float, weights), strict=True)),
        "loss.localization_loss": {"weighted_giou": {}} if settings["losses"]["box"] == "giou" else box,
        "loss.localization_weight": float(losses.get("box_loss_weight", row.weight) * scale),
        "loss.classification_weight": float(scale),
        "normalize_loc_loss_by_codesize": True,
    }
