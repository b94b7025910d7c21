"""From a `pipeline.config` of the Object Detection API to parameters, with every field of it accounted for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from stages.core.base.errors import ForeignConfigError, ParamsError
from stages.core.params.tree import parse_params
from stages.core.tfod.anchors import import_anchors
from stages.core.tfod.augmentations import import_augmentation
from stages.core.tfod.conversion import ConfigConversion, Use, print_value
from stages.core.tfod.editing import find_fields
from stages.core.tfod.families import COUNTERPARTS, FULL_CONVOLUTIONS, Counterpart, find_counterpart, nearest_row
from stages.core.tfod.files import read_text
from stages.core.tfod.heads import import_heads
from stages.core.tfod.inputs import import_data, import_size
from stages.core.tfod.reasons import reason_for
from stages.core.tfod.schema import check_fields, without_unknown
from stages.core.tfod.textformat import Message, parse_text
from stages.core.tfod.training import import_training

SCHEMES = {"ssd": ("float32", "int8", "int8_postprocess_op"), "faster_rcnn": ("float32", "int8")}
"""What an imported model is converted to: what the API's own export to TFLite makes, and the plain files."""
TRUE = ("true", "True", "1")
UNKNOWN_FIELD = "not a field of the API (--ignore-unknown)"


@dataclass(frozen=True, kw_only=True)
class Unused:
    """One field that is not honoured: where it is, its value as text, and why."""

    path: str
    line: int
    given: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ImportedConfig:
    """What became of a config.

    Attributes:
      name: The file.
      counterpart: The model's row, and how it differs.
      labels: Classes of the label map, id to name; empty where the config has none yet.
      tree: A whole params.yaml.
      uses: Fields that became parameters.
      unused: All other fields.
    """

    name: str
    counterpart: Counterpart
    labels: dict[int, str]
    tree: dict[str, Any]
    uses: tuple[Use, ...]
    unused: tuple[Unused, ...]


def import_config(path: Path, *, folders: tuple[Path, ...] = (), ignore_unknown: bool = False) -> ImportedConfig:
    """Reads a config and says what it comes to.

    Args:
      path: The pipeline.config.
      folders: Where its relative paths are looked for, before its own folder.
      ignore_unknown: Lists fields that the API does not have, instead of refusing them.

    Raises:
      ForeignConfigError: if it is no such config, its model has no counterpart, or its values are not valid.
    """
    text = read_text(path)
    return convert_config(text, str(path), folders=(*folders, path.parent), ignore_unknown=ignore_unknown)


def convert_config(
    text: str, name: str, *, folders: tuple[Path, ...] = (), ignore_unknown: bool = False
) -> ImportedConfig:
    """What `import_config` does, for a text; `name` is what messages call it."""
    message = parse_text(text, name)
    if not message.fields:
        raise ForeignConfigError(f"{name}: line 1: no field at all: expected `model {{ ... }}`")
    extra: list[Unused] = []
    if ignore_unknown:
        message, unknown = without_unknown(message)
        for path, field in unknown:
            given = print_value(field.value)
            extra.append(Unused(path=path, line=field.line, given=given, reason=UNKNOWN_FIELD))
    counterpart = find_model(message, name)
    check_fields(message, name)
    conversion = ConfigConversion(message, name, counterpart)
    conversion.give(
        f"model.{counterpart.meta}.feature_extractor.type", "models", [counterpart.row], counterpart.differs
    )
    import_size(conversion)
    import_training(conversion)
    height, width = conversion.tree["train"][counterpart.row]["input_size"]
    import_anchors(conversion, min(height, width))
    import_augmentation(conversion)
    import_heads(conversion)
    labels = import_data(conversion, folders)
    schemes = [*SCHEMES[counterpart.meta], *conversion.tree.pop("schemes", ())]
    tree = {"models": conversion.tree.pop("models"), "schemes": schemes, **conversion.tree}
    try:
        parse_params(tree)
    except ParamsError as error:
        raise ForeignConfigError(f"{name}: its values are no valid parameters: {error}") from None
    return ImportedConfig(
        name=name,
        counterpart=counterpart,
        labels=labels,
        tree=tree,
        uses=tuple(conversion.uses),
        unused=(*extra, *_list_unused(conversion)),
    )


def find_model(message: Message, name: str) -> Counterpart:
    """The row for the model of a config.

    Raises:
      ForeignConfigError: if there is no model, or none like it here; the message names the nearest row.
    """
    models = [field.value for field in message.all("model") if isinstance(field.value, Message)]
    metas = [field for model in models for field in model.fields if isinstance(field.value, Message)]
    if len(models) != 1 or len(metas) != 1:
        there = f"found {', '.join(field.name for field in metas) or 'none'}"
        first = message.fields[0]
        raise ForeignConfigError(
            f"{name}: line {first.line}: expected one model, as in `model {{ ssd {{ ... }} }}`, {there}: "
            "not a pipeline.config?"
        )
    meta, value = metas[0], metas[0].value
    assert isinstance(value, Message)
    extractor, line = _extractor(value) or ("", meta.line)
    found = find_counterpart(meta.name, extractor)
    what = f"{meta.name} with feature extractor {extractor!r}" if extractor else meta.name
    if found and found.has_masks and not _has_masks(value):
        found, what = None, f"{what} without masks (number_of_stages: 3 and predict_instance_masks: true)"
    if found and found.detector.has_ssd_anchors and not _is_separable(value):
        found = replace(found, differs=FULL_CONVOLUTIONS)
    if found is None:
        row = nearest_row(meta.name, extractor)
        known = ", ".join(dict.fromkeys(row.extractor for row in COUNTERPARTS))
        raise ForeignConfigError(
            f"{name}: line {line}: {what} has no counterpart here; the nearest row is {row} (converted: {known})"
        )
    return found


def render_params(imported: ImportedConfig) -> str:
    """A params.yaml with everything that is to be said about it in comments."""
    body = yaml.safe_dump(imported.tree, sort_keys=False, default_flow_style=None, width=100)
    told = "".join(f"# {line}".rstrip() + "\n" for line in describe(imported))
    return f"{told}\n{body}"


def describe(imported: ImportedConfig) -> Iterator[str]:
    """Lines that account for the model and every field of the config."""
    row = imported.counterpart
    yield f"From {Path(imported.name).name}: {row.meta} with {row.extractor} -> {row.row}"
    if row.differs:
        yield f"Not the same model: {row.differs}."
    if imported.labels:
        yield f"Classes of its label map: {', '.join(f'{key} {name}' for key, name in imported.labels.items())}"
    yield ""
    yield "Used (line of the config, field, value -> parameter):"
    for use in imported.uses:
        given = f"line {use.line:<4} {use.path}" if use.line else f"default   {use.path}"
        value = f": {use.given}" if use.given else ""
        yield f"  {given}{value} -> {use.parameter}: {use.value}{f' ({use.note})' if use.note else ''}"
    yield ""
    yield "To fill in: prepare.source, path and annotations; the API's records have no reader here."
    yield ""
    yield "Not honoured (line of the config, field, value), by reason:"
    for reason in dict.fromkeys(unused.reason for unused in imported.unused):
        yield f"  {reason}:"
        for unused in imported.unused:
            if unused.reason == reason:
                yield f"    line {unused.line:<4} {unused.path}{f': {unused.given}' if unused.given else ''}"


def _list_unused(conversion: ConfigConversion) -> Iterator[Unused]:
    for path, field in conversion.left_over():
        reason = conversion.excused.get((path, field.span)) or reason_for(path)
        yield Unused(path=path, line=field.line, given=print_value(field.value), reason=reason)


def _extractor(meta: Message) -> tuple[str, int] | None:
    for field in meta.all("feature_extractor"):
        for kind in field.value.all("type") if isinstance(field.value, Message) else ():
            if isinstance(kind.value, str):
                return kind.value, kind.line
    return None


def _is_separable(meta: Message) -> bool:
    """Whether the predictors of a one-stage model are depthwise separable convolutions: SSDLite and not SSD."""
    paths = ("feature_extractor.use_depthwise", "box_predictor.convolutional_box_predictor.use_depthwise")
    flags = [field for path in paths for field in find_fields(meta, path)]
    return len(flags) == len(paths) and all(print_value(flag.value) in TRUE for flag in flags)


def _has_masks(meta: Message) -> bool:
    """Whether a two-stage model has its third stage, and masks in it."""
    stages = [field.value for field in meta.all("number_of_stages")]
    text = [field for field in meta.all("second_stage_box_predictor") if isinstance(field.value, Message)]
    predictors = [inner.value for field in text for inner in field.value.all("mask_rcnn_box_predictor")]  # type: ignore[union-attr]
    flags = [flag for found in predictors if isinstance(found, Message) for flag in found.all("predict_instance_masks")]
    return stages == [3] and [print_value(flag.value) for flag in flags] in ([text] for text in TRUE)
