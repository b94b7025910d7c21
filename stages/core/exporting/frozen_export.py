"""A brought TF1 frozen graph with raw heads to a deployment folder: SavedModel, float32 .tflite, uint8 .tflite."""

from pathlib import Path

from stages.core.base.folders import replaced_folder
from stages.core.base.hashing import hash_file
from stages.core.base.layout import QUANTIZED_FILE, SAVED_MODEL
from stages.core.base.native_output import silence_native
from stages.core.exporting.class_map import ClassMap
from stages.core.exporting.frozen_heads import assemble_brought, read_quietly
from stages.core.exporting.graph import INPUT_NAME, DeploymentGraph
from stages.core.exporting.source import BroughtSource
from stages.core.exporting.tflite import save_functions, write_tflites
from stages.core.exporting.uint8_graph import convert_uint8, why_no_uint8
from stages.core.params.brought import BroughtModel
from stages.core.results.brought import BroughtFacts, write_brought_facts
from stages.core.results.interface import ImageInput, Interface, PostProcessing, write_interface
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed

NO_FAKE_QUANT = "the graph has no fake-quant nodes: it was not trained under int8's rounding (int8 measures ranges)"


def export_frozen_graph(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """Writes one variant's folder and returns what the user should know.

    A graph with fake-quant nodes is `trained`, where it is the reference, and `qat`, from which schemes start.

    Raises:
      MissingResultError, ArtifactError, DataError: as `frozen_heads.read_heads`.
    """
    heads = read_quietly(source)
    if variant is Variant.QAT and not heads.num_fake_quant:
        write_not_needed(out_dir, source.name, variant, reason=NO_FAKE_QUANT)
        return (f"not exported: {NO_FAKE_QUANT}",)
    no_uint8 = why_no_uint8(source.model) if heads.num_fake_quant else ""
    notes = describe_classes(heads.classes)
    with replaced_folder(out_dir) as partial:
        with silence_native():
            graph = assemble_brought(source, heads, round_pixels=variant is Variant.QAT)
            save_functions(graph.signatures, partial / SAVED_MODEL)
            if not heads.num_fake_quant or variant is Variant.QAT:
                write_tflites(graph, partial)
            if variant is Variant.QAT and not no_uint8:
                (partial / QUANTIZED_FILE).write_bytes(convert_uint8(heads.cut, source.model))
        write_interface(describe_brought(source, graph, heads.classes, variant), partial)
        facts = BroughtFacts(
            kind=source.model.kind,
            sha256=hash_file(source.path),
            num_fake_quant=heads.num_fake_quant,
            no_uint8=no_uint8,
            notes=notes,
        )
        write_brought_facts(facts, partial)
    return notes


def describe_brought(source: BroughtSource, graph: DeploymentGraph, classes: ClassMap, variant: Variant) -> Interface:
    """The contract of a brought model's deployment graph."""
    spec = source.model.input
    mean, deviation = (", ".join(f"{value:g}" for value in values) for values in (spec.means, spec.deviations))
    flipped = " of BGR" if spec.color_order == "BGR" else ""
    return Interface(
        model=source.name,
        task="detection",
        variant=variant,
        input=ImageInput(
            name=INPUT_NAME,
            shape=(1, *spec.size, 3),
            dtype="float32",
            resize="fit_pad" if spec.resize == "letterbox" else "stretch",
            pad_value=padding_of(source.model),
            normalization=f"inside the graph: (pixel - [{mean}]) / [{deviation}]{flipped}",
        ),
        outputs=graph.outputs,
        raw_outputs=graph.raw_outputs,
        class_offset=graph.class_offset,
        class_map=() if classes.is_identity else classes.category_ids,
        labels={str(key): name for key, name in source.labels.items()},
        post_processing=PostProcessing(
            method=graph.method,
            max_detections=source.settings.max_detections,
            score_threshold=source.settings.score_threshold,
            nms_iou_threshold=source.settings.nms_iou_threshold,
        ),
        checkpoint_sha256=hash_file(source.path),
    )


def padding_of(model: BroughtModel) -> tuple[int, int, int]:
    """RGB of padding that is about zero after normalisation."""
    means = model.input.means if model.input.color_order == "RGB" else model.input.means[::-1]
    red, green, blue = (min(max(round(value), 0), 255) for value in means)
    return red, green, blue


def describe_classes(classes: ClassMap) -> tuple[str, ...]:
    """What of the model's and the data's classes does not meet."""
    told = []
    if classes.unknown:
        told.append(f"classes of the data that the model does not have, never found: {', '.join(classes.unknown)}")
    if classes.unused:
        told.append(f"{classes.unused} classes of the model are none of the data's; what is found of them is dropped")
    return tuple(told)
