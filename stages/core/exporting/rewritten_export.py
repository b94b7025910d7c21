"""A brought SavedModel, or Keras weights with their code, to a deployment folder, ops that runtimes lack replaced."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.file_kinds import FileKind, check_kind
from stages.core.base.folders import replaced_folder
from stages.core.base.layout import SAVED_MODEL
from stages.core.base.native_output import call_quietly
from stages.core.exporting.brought_outputs import READERS_OF_OUTPUTS, ReadOutputs
from stages.core.exporting.class_map import ClassMap, match_labels
from stages.core.exporting.describing import describe_brought, describe_classes, hash_source
from stages.core.exporting.finished_readers import names_of_tensors
from stages.core.exporting.foreign_code import save_foreign_model
from stages.core.exporting.frozen_graph import check_nodes, keep_ancestors, node_of
from stages.core.exporting.frozen_heads import normalize_brought
from stages.core.exporting.graph import DeploymentGraph, image_spec
from stages.core.exporting.source import BroughtSource
from stages.core.exporting.tflite import save_functions, write_brought_tflites
from stages.core.params.brought import BroughtLayout
from stages.core.results.brought import BroughtFacts, write_brought_facts
from stages.core.results.interface import Interface, PostProcessing, write_interface
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed
from stages.core.results.substitution import Substitution
from stages.core.substituting.frozen import Frozen, freeze_signature
from stages.core.substituting.own_rows import change_attributes, load_attribute_rows, load_own_rules
from stages.core.substituting.substitute import substitute
from stages.core.substituting.walker import Rule

IMAGE = "image"
NO_TRAINING = "the model was brought as it is: it was not trained under int8's rounding (int8 measures ranges)"
MEASURED_IMAGES = 3
"""How many images of noise a replacement's error is measured on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rewritten:
    """A brought model, rewritten."""

    graph: DeploymentGraph
    read: ReadOutputs
    classes: ClassMap
    substitutions: tuple[Substitution, ...]


def export_saved_model(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """Writes one variant's folder and returns what the user should know. No code of the model is run."""
    if variant is Variant.QAT:
        write_not_needed(out_dir, source.name, variant, reason=NO_TRAINING)
        return (f"not exported: {NO_TRAINING}",)
    check_kind(source.path, FileKind.SAVED_MODEL)
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
    # A mistake is one line: without what TensorFlow says meanwhile.
    rewritten = call_quietly(lambda: rewrite(source, folder))
    notes = (*describe_classes(rewritten.classes), *describe_substitutions(rewritten.substitutions))

    def write(partial: Path) -> None:
        save_functions(rewritten.graph.signatures, partial / SAVED_MODEL)
        write_brought_tflites(rewritten.graph, partial, source.path)

    with replaced_folder(out_dir) as partial:
        call_quietly(lambda: write(partial))
        sha256 = hash_source(source.path)
        write_interface(_describe(source, rewritten, variant), partial)
        facts = BroughtFacts(
            kind=source.model.kind,
            sha256=sha256,
            substitutions=rewritten.substitutions,
            names=names_of_tensors(source.model),
            notes=notes,
        )
        write_brought_facts(facts, partial)
    return notes


def rewrite(source: BroughtSource, folder: Path) -> Rewritten:
    """The deployment graph of a SavedModel.

    Raises:
      MissingResultError, ArtifactError: if it, a bound value or an own row is missing or does not fit.
      DataError: if the model has no class of the data.
    """
    model = source.model
    frozen = select_tensors(freeze_signature(folder, model.signature), source)
    frozen, own, changed = apply_own_rows(frozen, source)
    shape = (1, *model.input.size, 3)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, shape).astype(np.float32) for _ in range(MEASURED_IMAGES)]
    found = substitute(
        frozen,
        shapes={IMAGE: shape},
        bound={name: _load_value(source.root / path) for name, path in model.bound.items()},
        own=own,
        images=[{IMAGE: normalize_brought(image, model).numpy()} for image in noise],
    )
    shapes = {key: tuple(tensor.shape) for key, tensor in found.function.structured_outputs.items()}
    read = READERS_OF_OUTPUTS[model.layout]({key: shapes[key] for key in model.outputs}, source)
    labels, where = source.model_labels, f"brought.{source.name}"
    number = max(labels, default=0) if read.num_classes is None else read.num_classes
    classes = match_labels(labels, source.labels, num_classes=number, where=where)

    def detect(image: Any) -> dict[str, Any]:
        return read.rename(found.function(**{IMAGE: normalize_brought(image, model)}))

    graph = DeploymentGraph(
        detect=tf.function(detect, autograph=False).get_concrete_function(image_spec(model.input.size)),
        outputs=read.outputs,
        class_offset=1 - read.first_class,
        method="the model's own, its ops replaced where a runtime lacks them",
    )
    return Rewritten(graph=graph, read=read, classes=classes, substitutions=(*changed, *found.replacements))


def select_tensors(frozen: Frozen, source: BroughtSource) -> Frozen:
    """The same graph with the entry's image as its input `image`, the inputs that are bound, and its outputs by key.

    Image and outputs may be inner nodes: what is before the one and behind the others is left out.

    Raises:
      ArtifactError: if there are no such tensors, the outputs do not depend on the image, or on more than is bound.
    """
    model, name = source.model, source.model.input.name
    node, shape, dtype = frozen.inputs.get(name, (node_of(name), tf.TensorShape(None), tf.float32))
    outputs = {key: frozen.outputs.get(tensor, tensor) for key, tensor in model.outputs.items()}
    wanted = {"input.name": node, **{f"outputs.{key}": tensor for key, tensor in outputs.items()}}
    check_nodes(frozen.graph, wanted, source.path, also=[*frozen.inputs, *frozen.outputs])
    needed = {part.name for part in keep_ancestors(frozen.graph, list(outputs.values()), stop=node).node}
    if node not in needed:
        raise ArtifactError(f"{source.path}: the outputs do not depend on input.name {name!r}: name an earlier node")
    others = {key: row for key, row in frozen.inputs.items() if key in model.bound}
    left = [key for key, row in frozen.inputs.items() if row[0] in needed - {node} and key not in others]
    if left:
        raise ArtifactError(
            f"{source.path}: the outputs also depend on {', '.join(left)}: `bound` gives other inputs than the image a "
            "value"
        )
    missing = [key for key in model.bound if key not in frozen.inputs]
    if missing:
        raise ArtifactError(f"{source.path}: bound: no input {missing[0]!r}; it has {', '.join(frozen.inputs)}")
    check_pixels(dtype, source)
    return Frozen(
        graph=frozen.graph,
        # Pixels are whole numbers in float32 too, and a graph that is float throughout is one that schemes apply to.
        inputs={IMAGE: (node, shape, tf.float32), **others},
        outputs={key: tensor if ":" in tensor else f"{tensor}:0" for key, tensor in outputs.items()},
        source=str(source.path),
    )


def check_pixels(dtype: Any, source: BroughtSource) -> None:
    """Raises ArtifactError where an integer input would be given normalised values."""
    spec = source.model.input
    plain = set(spec.means) == {0.0} and set(spec.deviations) == {1.0}
    if not plain and not dtype.is_floating:
        raise ArtifactError(
            f"{source.path}: the input takes {dtype.name}, which are pixels as they are: expected input.mean 0 and "
            "input.deviation 1"
        )


def apply_own_rows(frozen: Frozen, source: BroughtSource) -> tuple[Frozen, dict[str, Rule], tuple[Substitution, ...]]:
    """The graph with the user's changes of attributes, the user's own rows, and what was changed.

    Raises:
      ParamsError, ArtifactError: if the file that `substitutions` names is missing or wrong.
    """
    if source.model.substitutions is None:
        return frozen, {}, ()
    path = source.root / source.model.substitutions
    if path.suffix == ".py":
        return frozen, load_own_rules(path), ()
    graph, counts = change_attributes(frozen.graph, load_attribute_rows(path))
    changed = tuple(Substitution(op=op, by="attributes of your own", count=n) for op, n in counts.items())
    return replace(frozen, graph=graph), {}, changed


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
    graph, read = rewritten.graph, rewritten.read
    own = PostProcessing(
        method=graph.method,
        max_detections=graph.outputs[0].shape[1],
        # The thresholds are in the model; nothing more is dropped or suppressed.
        score_threshold=0.0,
        nms_iou_threshold=1.0,
    )
    interface = describe_brought(source, graph, rewritten.classes, variant, task=read.task, post_processing=own)
    if source.model.layout is BroughtLayout.MATTERPORT:
        return interface
    table = (*(0,) * read.first_class, *rewritten.classes.category_ids)
    return replace(interface, box_format=source.model.box_format, class_map=table, mask_frame=read.mask_frame)
