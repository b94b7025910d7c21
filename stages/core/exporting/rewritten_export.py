"""A brought SavedModel, or Keras weights with their code, to a deployment folder, ops that runtimes lack replaced."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError, MissingResultError, UserError
from stages.core.base.folders import replaced_folder
from stages.core.base.layout import SAVED_MODEL
from stages.core.base.native_output import silence_native
from stages.core.exporting.class_map import ClassMap, match_labels
from stages.core.exporting.describing import describe_brought, describe_classes, hash_source
from stages.core.exporting.foreign_code import save_foreign_model
from stages.core.exporting.frozen_heads import normalize_brought
from stages.core.exporting.graph import DeploymentGraph, image_spec
from stages.core.exporting.matterport import check_matterport, matterport_outputs, name_matterport
from stages.core.exporting.source import BroughtSource
from stages.core.exporting.tflite import save_functions, write_tflites
from stages.core.results.brought import BroughtFacts, write_brought_facts
from stages.core.results.interface import Interface, PostProcessing, write_interface
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed
from stages.core.results.substitution import Substitution
from stages.core.substituting.frozen import Frozen, freeze_signature
from stages.core.substituting.own_rows import change_attributes, load_attribute_rows, load_own_rules
from stages.core.substituting.substitute import substitute
from stages.core.substituting.walker import Rule
from stages.core.tables.detectors import Task

NO_TRAINING = "the model was brought as it is: it was not trained under int8's rounding (int8 measures ranges)"
MEASURED_IMAGES = 3
"""How many images of noise a replacement's error is measured on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rewritten:
    """A brought model, rewritten."""

    graph: DeploymentGraph
    classes: ClassMap
    substitutions: tuple[Substitution, ...]


def export_saved_model(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """Writes one variant's folder and returns what the user should know. No code of the model is run."""
    if variant is Variant.QAT:
        write_not_needed(out_dir, source.name, variant, reason=NO_TRAINING)
        return (f"not exported: {NO_TRAINING}",)
    return _export(source, source.path, out_dir, variant)


def export_keras_weights(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """The same from an .h5 file and the code that builds its model, which is run: the user has named it."""
    if variant is Variant.QAT:
        return export_saved_model(source, variant, out_dir)
    assert source.model.code is not None
    with tempfile.TemporaryDirectory() as folder:
        save_foreign_model(source.root / source.model.code, source.path, Path(folder) / SAVED_MODEL)
        return _export(source, Path(folder) / SAVED_MODEL, out_dir, variant)


def _export(source: BroughtSource, folder: Path, out_dir: Path, variant: Variant) -> tuple[str, ...]:
    mistake, rewritten = None, None
    # A mistake is one line: without what TensorFlow says meanwhile.
    with silence_native():
        try:
            rewritten = rewrite(source, folder)
        except UserError as error:
            mistake = error
    if rewritten is None:
        assert mistake is not None
        raise mistake
    notes = (*describe_classes(rewritten.classes), *describe_substitutions(rewritten.substitutions))
    with replaced_folder(out_dir) as partial:
        with silence_native():
            save_functions(rewritten.graph.signatures, partial / SAVED_MODEL)
            write_tflites(rewritten.graph, partial)
        sha256 = hash_source(source.path)
        write_interface(_describe(source, rewritten, variant), partial)
        facts = BroughtFacts(kind=source.model.kind, sha256=sha256, substitutions=rewritten.substitutions, notes=notes)
        write_brought_facts(facts, partial)
    return notes


def rewrite(source: BroughtSource, folder: Path) -> Rewritten:
    """The deployment graph of a SavedModel.

    Raises:
      MissingResultError, ArtifactError: if it, a bound value or an own row is missing or does not fit.
      DataError: if the model has no class of the data.
    """
    model = source.model
    frozen = freeze_signature(folder, model.signature)
    if folder != source.path:
        frozen = Frozen(graph=frozen.graph, inputs=frozen.inputs, outputs=frozen.outputs, source=str(source.path))
    own: dict[str, Rule] = {}
    changed: tuple[Substitution, ...] = ()
    if model.substitutions is not None:
        path = source.root / model.substitutions
        if path.suffix == ".py":
            own = load_own_rules(path)
        else:
            graph, counts = change_attributes(frozen.graph, load_attribute_rows(path))
            frozen = Frozen(graph=graph, inputs=frozen.inputs, outputs=frozen.outputs, source=frozen.source)
            changed = tuple(Substitution(op=op, by="attributes of your own", count=n) for op, n in counts.items())
    shape = (1, *model.input.size, 3)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, shape).astype(np.float32) for _ in range(MEASURED_IMAGES)]
    names = [model.outputs["detections"], model.outputs["masks"]]
    found = substitute(
        frozen,
        shapes={model.input.name: shape},
        bound={name: _load_value(source.root / path) for name, path in model.bound.items()},
        outputs=names,
        own=own,
        images=[{model.input.name: normalize_brought(image, model).numpy()} for image in noise],
    )
    outputs = found.function.structured_outputs
    side, channels = check_matterport(outputs[names[0]], outputs[names[1]], frozen.source)
    classes = match_labels(source.model_labels, source.labels, num_classes=channels - 1, where=f"brought.{source.name}")

    def detect(image: Any) -> dict[str, Any]:
        results = found.function(**{model.input.name: normalize_brought(image, model)})
        return name_matterport(results, names[0], names[1], model.input.size)

    graph = DeploymentGraph(
        detect=tf.function(detect, autograph=False).get_concrete_function(image_spec(model.input.size)),
        outputs=matterport_outputs(outputs[names[0]].shape[1], side),
        class_offset=1,
        method="the model's own, its ops replaced where a runtime lacks them",
    )
    return Rewritten(graph=graph, classes=classes, substitutions=(*changed, *found.replacements))


def _load_value(path: Path) -> np.ndarray:
    if not path.is_file():
        raise MissingResultError(f"{path}: no such file")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(f"{path}: not an array in NumPy's format without pickles ({error})") from None


def describe_substitutions(found: tuple[Substitution, ...]) -> tuple[str, ...]:
    """One sentence on what was replaced."""
    if not found:
        return ()
    kinds = ", ".join(f"{item.count} {item.op}" for item in found)
    errors = [item.error for item in found if item.error is not None]
    most = f"; greatest error {max(errors):.1e}" if errors else ""
    return (f"replaced: {kinds}{most}",)


def _describe(source: BroughtSource, rewritten: Rewritten, variant: Variant) -> Interface:
    graph = rewritten.graph
    own = PostProcessing(
        method=graph.method,
        max_detections=graph.outputs[0].shape[1],
        # The thresholds are in the model; nothing more is dropped or suppressed.
        score_threshold=0.0,
        nms_iou_threshold=1.0,
    )
    return describe_brought(source, graph, rewritten.classes, variant, task=Task.SEGMENTATION, post_processing=own)
