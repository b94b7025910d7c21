"""A brought graph's raw heads to a deployment folder: SavedModel, float32 .tflite, uint8 .tflite."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.core.base.folders import replaced_folder
from stages.core.base.layout import QUANTIZED_FILE, SAVED_MODEL
from stages.core.base.native_output import call_quietly
from stages.core.exporting.describing import describe_brought, describe_classes, hash_source
from stages.core.exporting.finished_readers import names_of_tensors
from stages.core.exporting.frozen_graph import check_nodes, freeze_saved_model, read_frozen_graph
from stages.core.exporting.frozen_heads import assemble_brought, read_heads
from stages.core.exporting.source import BroughtSource
from stages.core.exporting.tflite import save_functions, write_brought_tflites
from stages.core.exporting.uint8_graph import convert_uint8, why_no_uint8
from stages.core.params.brought import BroughtKind
from stages.core.results.brought import BroughtFacts, write_brought_facts
from stages.core.results.interface import write_interface
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed

NO_FAKE_QUANT = "the graph has no fake-quant nodes: it was not trained under int8's rounding (int8 measures ranges)"


def export_graph(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """Writes one variant's folder and returns what the user should know.

    A graph with fake-quant nodes is `trained`, where it is the reference, and `qat`, from which schemes start.

    Raises:
      MissingResultError, ArtifactError, DataError: if the file is missing, or is not what the entry says.
    """
    names = names_of_tensors(source.model)
    graph, source = call_quietly(lambda: read_graph_of(source))
    return export_heads(graph, source, names, variant, out_dir)


def read_graph_of(source: BroughtSource) -> tuple[Any, BroughtSource]:
    """A frozen GraphDef, and the source with the graph's own names of tensors.

    Raises:
      MissingResultError, ArtifactError: if there is none, or it lacks a tensor.
    """
    model = source.model
    if model.kind is BroughtKind.SAVED_MODEL:
        graph, names = freeze_saved_model(source.path, model.signature)
    else:
        graph, names = read_frozen_graph(source.path), {}
    image = model.input.model_copy(update={"name": names.get(model.input.name, model.input.name)})
    outputs = {key: names.get(name, name) for key, name in model.outputs.items()}
    wanted = {"input.name": image.name, **{f"outputs.{key}": name for key, name in outputs.items()}}
    check_nodes(graph, wanted, source.path, also=sorted(names))
    return graph, replace(source, model=model.model_copy(update={"input": image, "outputs": outputs}))


def export_heads(
    graph: Any, source: BroughtSource, names: dict[str, str], variant: Variant, out_dir: Path
) -> tuple[str, ...]:
    """`export_graph` for raw heads; `names` are those that tensors had."""
    heads = call_quietly(lambda: read_heads(graph, source))
    if variant is Variant.QAT and not heads.num_fake_quant:
        return leave_out(source, variant, out_dir)
    no_uint8 = why_no_uint8(source.model) if heads.num_fake_quant else ""
    notes = describe_classes(heads.classes)

    def write(folder: Path) -> None:
        deployed = assemble_brought(source, heads, round_pixels=variant is Variant.QAT)
        save_functions(deployed.signatures, folder / SAVED_MODEL)
        if not heads.num_fake_quant or variant is Variant.QAT:
            write_brought_tflites(deployed, folder, source.path)
        if variant is Variant.QAT and not no_uint8:
            (folder / QUANTIZED_FILE).write_bytes(convert_uint8(heads.cut, source.model))
        write_interface(describe_brought(source, deployed, heads.classes, variant), folder)

    facts = BroughtFacts(
        kind=source.model.kind,
        sha256=hash_source(source.path),
        num_fake_quant=heads.num_fake_quant,
        no_uint8=no_uint8,
        names=names,
        notes=notes,
    )
    with replaced_folder(out_dir) as partial:
        call_quietly(lambda: write(partial))
        write_brought_facts(facts, partial)
    return notes


def leave_out(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """A folder that says why there is no such variant."""
    write_not_needed(out_dir, source.name, variant, reason=NO_FAKE_QUANT)
    return (f"not exported: {NO_FAKE_QUANT}",)
