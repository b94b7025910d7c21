"""From a row's parameters to a `pipeline.config` of the Object Detection API: a new one, or an existing one edited."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.core.base.errors import UsageError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.params.tree import Params, load_params, parse_params
from stages.core.tfod.editing import remove_field, set_value, set_values
from stages.core.tfod.families import COUNTERPARTS, Counterpart, exported_as
from stages.core.tfod.import_config import convert_config
from stages.core.tfod.textformat import Message, Scalar, to_message
from stages.core.tfod.topics import Topic, in_use, list_topics, look_up, resolve_params

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class ExportedConfig:
    """A config for the API.

    Attributes:
      text: The whole file.
      counterpart: The model of the API, and how it differs.
      written: Parameters that it states, with the fields that were set; no fields where they stood there already.
      missing: Parameters that it cannot state, with the reason.
    """

    text: str
    counterpart: Counterpart
    written: dict[str, tuple[str, ...]]
    missing: dict[str, str]


def export_config(root: Path, model: str, *, like: tuple[str, str] | None = None) -> ExportedConfig:
    """Writes a row's parameters and prepared data as a config.

    Args:
      root: The project's folder.
      model: Row of the detector table.
      like: Name and text of a config to edit: whatever it says already, and what the parameters say nothing of, stays
        byte for byte.

    Raises:
      UsageError: if the API has no such model, or `like` is of another one.
      MissingResultError: if `prepare` has not run, so that there are no classes.
    """
    params, layout = load_params(root), Layout(root)
    counterpart = exported_as(model)
    if counterpart is None:
        known = ", ".join(row.row for row in COUNTERPARTS if row.exported)
        raise UsageError(f"{model}: the Object Detection API has no such model (it has one for: {known})")
    labels = read_json(dict[str, str], layout.labels)
    num_classes = max(map(int, labels))
    text = (TEMPLATES / f"{counterpart.meta}.config").read_text()
    standing = None
    if like is not None:
        name, text = like
        imported = convert_config(text, name, folders=(Path.cwd(), root, Path(name).parent))
        if imported.counterpart.row != model:
            raise UsageError(
                f"{name}: its model is {imported.counterpart.extractor} ({imported.counterpart.row}), not {model}"
            )
        # As it is written there: a Keras version, or a backbone of another size, is not to become another one.
        counterpart = replace(imported.counterpart, exported=True)
        standing = parse_params(imported.tree)
    topics = list_topics(params, counterpart, num_classes=num_classes, prepared=layout.prepared.relative_to(root))
    return _write(text, counterpart, topics, params, standing)


def describe_export(exported: ExportedConfig) -> Iterator[str]:
    """Lines that account for the model and every parameter of its training and export."""
    row = exported.counterpart
    yield f"{row.row} -> {row.meta} with {row.extractor}"
    if row.differs:
        yield f"Not the same model: {row.differs}."
    yield ""
    yield "Written (parameter -> fields):"
    for paths in dict.fromkeys(exported.written.values()):
        parameters = [parameter for parameter, where in exported.written.items() if where == paths]
        yield f"  {', '.join(parameters)} -> {', '.join(paths) or 'as it stands there'}"
    yield ""
    yield "Not in the config, by reason:"
    for reason in dict.fromkeys(exported.missing.values()):
        yield f"  {reason}: {', '.join(key for key, why in exported.missing.items() if why == reason)}"


def _write(
    text: str, counterpart: Counterpart, topics: list[Topic], params: Params, standing: Params | None
) -> ExportedConfig:
    values = resolve_params(params, counterpart.row)
    before = None if standing is None else resolve_params(standing, counterpart.row)
    written: dict[str, tuple[str, ...]] = {}
    missing = dict.fromkeys(in_use(values), "the API has no such parameter")
    for topic in topics:
        is_same = before is not None and topic.parameters and _agree(topic, values, before)
        if not is_same and not (topic.only_new and before is not None):
            text = apply_edits(text, topic.edits)
        for parameter in topic.parameters:
            if "." in parameter:
                written[parameter] = () if is_same else (*written.get(parameter, ()), *topic.edits)
            for key in [key for key in missing if key == parameter or key.startswith(f"{parameter}.")]:
                del missing[key]
        missing |= topic.missing
    return ExportedConfig(text=text, counterpart=counterpart, written=written, missing=missing)


def apply_edits(text: str, edits: Mapping[str, Any]) -> str:
    """The text with fields set: a mapping is a message, a list a repeated field, None removes the field."""
    for path, value in edits.items():
        if value is None:
            text = remove_field(text, path)
        elif isinstance(value, list):
            text = set_values(text, path, [_plain(item) for item in value])
        else:
            text = set_value(text, path, _plain(value))
    return text


def _plain(value: Any) -> Scalar | Message:
    return to_message({"value": value}).fields[0].value


def _agree(topic: Topic, values: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(look_up(values, parameter) == look_up(before, parameter) for parameter in topic.parameters)
