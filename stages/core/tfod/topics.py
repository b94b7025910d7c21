"""What a row's parameters come to in a `pipeline.config`: topic by topic, parameters and the fields that state them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.base.layout import LABEL_MAP_FILE
from stages.core.params.averaging import average_decay
from stages.core.params.needed import why_not_needed
from stages.core.params.tree import Params
from stages.core.results.kinds import Variant
from stages.core.tables.detectors import DETECTORS, Family
from stages.core.tfod.anchors import grid_anchors, ssd_anchors
from stages.core.tfod.augmentations import OPTIONS, augmentation_options
from stages.core.tfod.families import Counterpart
from stages.core.tfod.heads import CODER, LOSSES, PAIRS, Pair, full_path, ssd_loss_message
from stages.core.tfod.training import OPTIMIZER, optimizer_message, weight_path

SCHEDULE = ("learning_rate", "schedule", "warmup_steps", "optimizer", "momentum", "ema_decay", "overrides.trainer")
AUGMENTATION = (
    "horizontal_flip", "scale_min", "scale_max", "policy", "orientation_free", "color_jitter", "random_crop", "mosaic",
    "mix_up", "copy_paste",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Parameters that one group of fields states.

    Attributes:
      parameters: Dotted keys; `train.` is the row's section.
      edits: Path of a field to its value, as `apply_edits` takes them.
      missing: Parameters that the fields state only in part, or not with this value, and why.
      only_new: Whether an existing config keeps its own fields.
    """

    parameters: tuple[str, ...]
    edits: Mapping[str, Any]
    missing: Mapping[str, str] = field(default_factory=dict)
    only_new: bool = False


def list_topics(params: Params, counterpart: Counterpart, *, num_classes: int, prepared: Path) -> list[Topic]:
    """All topics of a row.

    Args:
      num_classes: The largest class id.
      prepared: Folder of the prepared data, as the config is to name it.
    """
    values = resolve_params(params, counterpart.row)
    settings, meta = values["train"], counterpart.meta
    topics = [
        Topic(parameters=(), edits={f"model.{meta}.num_classes": num_classes}),
        Topic(parameters=(), edits={f"model.{meta}.feature_extractor.type": counterpart.extractor}, only_new=True),
        Topic(parameters=(), edits=_data(prepared), only_new=True),
        _size(settings, meta),
        _anchors(settings, meta),
        _steps(values),
        _optimizer(settings, values["steps"]),
        _weight_decay(settings, meta),
        _augmentation(settings),
        _checkpoint(settings),
        Topic(parameters=("train.batch_size",), edits={"train_config.batch_size": settings["batch_size"]}),
        Topic(
            parameters=("train.gradient_clip_norm",),
            edits={"train_config.gradient_clipping_by_norm": float(settings["gradient_clip_norm"])},
        ),
        *(_pair(pair, values, meta) for pair in PAIRS[counterpart.detector.family]),
    ]
    return [*topics, _ssd_losses(settings, counterpart.detector.family)] if meta == "ssd" else topics


def resolve_params(params: Params, row: str) -> dict[str, Any]:
    """`train`, `export` and `qat` of a row with all defaults; `steps` with and without quantization.

    Of the two kinds of anchors, `train` has those of the row.
    """
    settings = params.train_settings(row).model_dump(mode="json")
    del settings["anchors" if DETECTORS[row].has_ssd_anchors else "ssd_anchors"]
    quantized = not why_not_needed(params, row, Variant.QAT)
    qat = params.qat.model_dump(mode="json") if quantized else {}
    steps = settings["steps"] + qat.get("steps", 0)
    return {"train": settings, "export": params.export.model_dump(mode="json"), "qat": qat, "steps": steps}


def look_up(values: Mapping[str, Any], parameter: str) -> Any:
    """The value at a dotted key; None where a step is missing."""
    found: Any = values
    for key in parameter.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def in_use(values: Mapping[str, Any]) -> Iterator[str]:
    """Dotted keys of all parameters of training and export, and of quantization-aware training where that is used."""
    for section in ("train", "export", "qat"):
        yield from _keys(values[section], section)


def _keys(tree: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}"


def _data(prepared: Path) -> dict[str, Any]:
    edits: dict[str, Any] = {}
    for reader, split in (("train_input_reader", "train"), ("eval_input_reader", "val")):
        edits[f"{reader}.label_map_path"] = (prepared / LABEL_MAP_FILE).as_posix()
        edits[f"{reader}.tf_record_input_reader.input_path"] = [(prepared / split / "*.tfrecord").as_posix()]
    return edits


def _size(settings: Mapping[str, Any], meta: str) -> Topic:
    height, width = settings["input_size"]
    missing = {}
    resizer: dict[str, Any] = {"fixed_shape_resizer": {"height": height, "width": width}}
    if settings["resize"] == "letterbox" and height == width:
        square = {"min_dimension": height, "max_dimension": height, "pad_to_max_dimension": True}
        resizer = {"keep_aspect_ratio_resizer": square}
    elif settings["resize"] == "letterbox":
        missing = {"train.resize": "the API pads to squares only: images are stretched to this size"}
    edits = {f"model.{meta}.image_resizer": resizer}
    return Topic(parameters=("train.input_size", "train.resize"), edits=edits, missing=missing)


def _anchors(settings: Mapping[str, Any], meta: str) -> Topic:
    if meta == "ssd":
        message = {"ssd_anchor_generator": ssd_anchors(settings["ssd_anchors"])}
        return Topic(parameters=("train.ssd_anchors",), edits={"model.ssd.anchor_generator": message})
    message = {"grid_anchor_generator": {**grid_anchors(settings["anchors"]), "height_stride": 16, "width_stride": 16}}
    outer = "model.faster_rcnn.first_stage_anchor_generator"
    return Topic(parameters=("train.anchors", "train.input_size"), edits={outer: message})


def _steps(values: Mapping[str, Any]) -> Topic:
    quantization = {"quantization": {"delay": values["train"]["steps"], "weight_bits": 8, "activation_bits": 8}}
    rewriter = {"graph_rewriter": quantization if values["qat"] else None}
    if rewriter["graph_rewriter"] is None:
        return Topic(parameters=("train.steps", "steps"), edits={"train_config.num_steps": values["steps"], **rewriter})
    return Topic(
        parameters=("train.steps", "qat.steps", "steps"),
        edits={"train_config.num_steps": values["steps"], **rewriter},
        missing={
            f"qat.{key}": "the API goes on with the schedule of the training"
            for key in ("learning_rate", "schedule", "warmup_steps", "optimizer", "weight_decay")
        },
    )


def _optimizer(settings: Mapping[str, Any], steps: int) -> Topic:
    message = optimizer_message(settings, settings["steps"])
    decay = settings["ema_decay"]
    decay = average_decay(settings["steps"]) if decay == "auto" else decay
    average = {"use_moving_average": bool(decay), **({"moving_average_decay": float(decay)} if decay else {})}
    parameters = tuple(f"train.{name}" for name in SCHEDULE)
    return Topic(parameters=parameters, edits={OPTIMIZER: {**message, **average}})


def _weight_decay(settings: Mapping[str, Any], meta: str) -> Topic:
    in_loss, parameter = settings["weight_decay"], "train.weight_decay"
    if settings["optimizer"] == "sgd":
        return Topic(parameters=(parameter,), edits={weight_path(meta): float(in_loss)})
    in_loss = settings["overrides"].get("task", {}).get("losses", {}).get("l2_weight_decay", 0.0)
    reason = "the API's Adam has no weight decay of its own"
    return Topic(
        parameters=(parameter, "train.overrides.task.losses.l2_weight_decay"),
        edits={weight_path(meta): float(in_loss)},
        missing={parameter: reason} if settings["weight_decay"] else {},
    )


def _augmentation(settings: Mapping[str, Any]) -> Topic:
    options, missing = augmentation_options(settings["augmentation"], tuple(settings["input_size"]))
    parameters = tuple(f"train.augmentation.{name}" for name in AUGMENTATION)
    reason = "the API has no such augmentation"
    return Topic(
        parameters=parameters,
        edits={OPTIONS: options},
        missing={f"train.augmentation.{name}": reason for name in missing},
    )


def _checkpoint(settings: Mapping[str, Any]) -> Topic:
    path, modules = settings["init_checkpoint"], settings["init_modules"]
    kind = "full" if "all" in modules else "detection" if "decoder" in modules else "classification"
    edits = {"train_config.fine_tune_checkpoint": path, "train_config.fine_tune_checkpoint_type": kind}
    missing = {}
    if path is None:
        edits = dict.fromkeys(edits)
    elif kind == "detection":
        missing = {"train.init_modules": "the API's `detection` loads all but the heads"}
    return Topic(parameters=("train.init_checkpoint", "train.init_modules"), edits=edits, missing=missing)


def _pair(pair: Pair, values: Mapping[str, Any], meta: str) -> Topic:
    value = look_up(values, pair.parameter)
    if value is None and pair.otherwise is not None:
        value = look_up(values, pair.otherwise)
    value = pair.row if value is None else value
    assert value is not None  # a pair without a value of the row is of a parameter with a default
    if not isinstance(pair.default, bool | int):
        value = float(value)
    edits = {full_path(pair, meta): value}
    if pair.parameter == "export.max_detections":
        edits[full_path(pair, meta).replace("max_total_detections", "max_detections_per_class")] = value
    return Topic(parameters=(pair.parameter,), edits=edits)


def _ssd_losses(settings: Mapping[str, Any], family: Family) -> Topic:
    losses = settings["losses"]
    reasons = {
        "train.losses.box": ("the API has Huber and GIoU", losses["box"] == "ciou"),
        "train.losses.classes": ("the API has focal loss", losses["classes"] != "focal"),
    }
    return Topic(
        parameters=(
            "train.losses.box",
            "train.losses.classes",
            CODER,
            *(f"{LOSSES}.{name}" for name in ("huber_loss_delta", "box_loss_weight", "loss_weight")),
        ),
        edits={f"model.ssd.{path}": value for path, value in ssd_loss_message(settings, family).items()},
        missing={key: reason for key, (reason, is_missing) in reasons.items() if is_missing},
    )
