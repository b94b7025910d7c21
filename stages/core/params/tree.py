"""params.yaml: the border between text and values.

Every section is a frozen pydantic model that forbids unknown keys. `load_params` turns whatever is wrong into one
`ParamsError` line that names the key and lists what is allowed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from stages.core.base.errors import ParamsError
from stages.core.base.layout import PARAMS_FILE
from stages.core.params.brought import BroughtModel, check_brought_names
from stages.core.params.explaining import explain, key_path
from stages.core.params.names import check_name, check_names
from stages.core.params.refining import PruneParams, QatParams, RefineParams
from stages.core.params.section import Section
from stages.core.params.steps import (
    BenchmarkParams,
    ConvertParams,
    ExportParams,
    GateParams,
    PrepareParams,
    PromoteParams,
    PublishParams,
    ReportParams,
    ValidateParams,
)
from stages.core.params.training import MultiScaleParams, TrainSettings
from stages.core.tables.detectors import DETECTORS, Detector
from stages.core.tables.schemes import SCHEMES

OF_THE_FIRST_TRAINING: dict[str, Any] = {
    "ema_decay": 0.0,
    "max_minutes": None,
    "freeze_backbone_steps": 0,
    "layer_decay": 1.0,
    "recalibrate_batch_norm": 0,
    "multi_scale": MultiScaleParams(),
}
"""What refinements do without, with the value that switches it off."""


class Params(Section):
    """The whole of params.yaml."""

    brought: dict[str, BroughtModel] = Field(default_factory=dict)
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    schemes: Annotated[tuple[str, ...], Field(min_length=1)]
    prepare: PrepareParams = PrepareParams()
    train: dict[str, dict[str, Any]] = Field(default_factory=dict)
    prune: PruneParams = PruneParams()
    qat: QatParams = QatParams()
    export: ExportParams = ExportParams()
    convert: ConvertParams = ConvertParams()
    validation: ValidateParams = Field(default=ValidateParams(), alias="validate")
    benchmark: BenchmarkParams = BenchmarkParams()
    report: ReportParams = ReportParams()
    gate: GateParams = GateParams()
    publish: PublishParams = PublishParams()
    promote: PromoteParams = PromoteParams()

    @field_validator("brought")
    @classmethod
    def _brought_names(cls, value: dict[str, BroughtModel]) -> dict[str, BroughtModel]:
        check_brought_names(value)
        return value

    @field_validator("models")
    @classmethod
    def _models_in_the_table(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return check_names(value, "model", [*DETECTORS, *info.data.get("brought", ())])

    @field_validator("schemes")
    @classmethod
    def _schemes_in_the_table(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(value, "scheme", SCHEMES)

    @field_validator("train")
    @classmethod
    def _train_sections(cls, value: dict[str, dict[str, Any]], info: ValidationInfo) -> dict[str, dict[str, Any]]:
        brought = info.data.get("brought", ())
        for name in value:
            check_name(name, "section", ["common", *DETECTORS, *brought])
            if name in brought and value[name]:
                raise ValueError(f"{name}: a brought model is not trained; expected {{}} (found {value[name]!r})")
        return value

    @model_validator(mode="after")
    def _every_training_is_valid(self) -> Self:
        for name in sorted({*self.train, *self.models} - {"common", *self.brought}):
            self.train_settings(name)
        for name in self.gate.floors:
            try:
                check_name(name, "model", [*DETECTORS, *self.brought])
            except ValueError as error:
                raise ParamsError(f"params.yaml: gate.floors: {error}") from None
        return self

    def train_settings(self, model: str) -> TrainSettings:
        """`train.common` with `train.<model>` laid over it, key by key.

        Raises:
          ParamsError: if the two together are not valid settings.
        """
        merged = merge_trees(self.train.get("common", {}), self.train.get(model, {}))
        try:
            settings = TrainSettings.model_validate(merged)
        except ValidationError as error:
            where = ("train", _section_of(key_path(error), self.train, model))
            raise ParamsError(f"params.yaml: {explain(error, where, TrainSettings)}") from None
        _check_what_the_model_has(settings, self.train, DETECTORS[model])
        return settings

    def refine_settings(self, model: str, section: RefineParams) -> TrainSettings:
        """The training of `model` with the parameters of `prune` or `qat` instead of its own.

        No moving average of the weights: it would average masks and quantization ranges too. What is about a pretrained
        backbone, and statistics measured anew, belong to the first training.
        """
        changes = {name: getattr(section, name) for name in RefineParams.model_fields if name != "models"}
        if section.batch_size is None:
            del changes["batch_size"]
        return self.train_settings(model).model_copy(update={**changes, **OF_THE_FIRST_TRAINING})


def _section_of(key: Sequence[Any], train: dict[str, dict[str, Any]], model: str) -> str:
    """Which of the two sections that were merged sets a key: the model's own, where it sets it at all."""
    told: Any = train.get(model, {})
    for part in key:
        if not isinstance(told, dict) or part not in told:
            return "common" if "common" in train else model
        told = told[part]
    return model


def _check_what_the_model_has(settings: TrainSettings, train: dict[str, dict[str, Any]], detector: Detector) -> None:
    """Raises ParamsError for a parameter of something that the model does not have."""
    own = train.get(detector.name, {})
    sizes = [("input_size", settings.input_size), *(("multi_scale", size) for size in settings.multi_scale.sizes)]
    for key, size in sizes:
        if any(side % detector.size_step for side in size):
            raise ParamsError(
                f"params.yaml: train.{_section_of([key], train, detector.name)}.{key}: {list(size)}: both sides must "
                f"be multiples of {detector.size_step} (the coarsest feature map's stride in {detector.name})"
            )
    kind, other = ("ssd_anchors", "anchors") if detector.has_ssd_anchors else ("anchors", "ssd_anchors")
    if other in own:
        raise ParamsError(f"params.yaml: train.{detector.name}.{other}: this model (a {detector.family}) has {kind}")
    if "regions" in own and not detector.has_masks:
        models = ", ".join(name for name, row in DETECTORS.items() if row.has_masks)
        raise ParamsError(
            f"params.yaml: train.{detector.name}.regions: a {detector.family} has no regions; only a Mask R-CNN has "
            f"({models})"
        )
    if settings.width != 1 and not detector.has_width:
        models = ", ".join(name for name, row in DETECTORS.items() if row.has_width)
        raise ParamsError(
            f"params.yaml: train.{_section_of(['width'], train, detector.name)}.width: "
            f"{detector.backbone} has no factor on its channels; expected "
            f"1, found {settings.width:g} (it works for {models})"
        )


def merge_trees(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: dicts merge key by key, everything else is replaced. Neither argument is changed."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge_trees(merged[key], value)
        else:
            merged[key] = value
    return merged


def check_sections(root: Path) -> None:
    """Checks that params.yaml has every section that DVC tracks; what it says of an absent one names no remedy.

    Raises:
      ParamsError: naming the first that is absent.
    """
    tree = load_yaml(root / PARAMS_FILE)
    params = parse_params(tree)
    names = [field.alias or name for name, field in Params.model_fields.items() if name not in ("publish", "promote")]
    paths = [(name,) for name in names] + [("train", name) for name in ("common", *params.models)]
    for path in paths:
        found: Any = tree
        for key in path:
            if not isinstance(found, dict) or key not in found:
                raise ParamsError(
                    f"params.yaml: no section {'.'.join(path)}, which dvc.yaml tracks; `{key}: {{}}` will do"
                )
            found = found[key]


def load_params(root: Path) -> Params:
    """Reads and checks `<root>/params.yaml`.

    Raises:
      ParamsError: with one line that names the file, the key, what was found and what is allowed.
    """
    return parse_params(load_yaml(root / PARAMS_FILE))


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
      ParamsError: if it is missing, not YAML, or not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, found {type(tree).__name__}")
    return tree


def parse_params(tree: dict[str, Any]) -> Params:
    """Checks a whole parameter tree."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise ParamsError(f"params.yaml: {explain(error, (), Params)}") from None
