"""Which schemes apply to an exported graph: a row of the results that cannot be made says why."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.layout import QUANTIZED_FILE, TFLITE_FILES
from stages.core.converting.tools import TOOLS
from stages.core.results.brought import BroughtFacts, read_brought_facts
from stages.core.results.kinds import Form, Precision, Variant
from stages.core.tables.schemes import SCHEMES, Scheme

ONE_STAGE_ONLY = "TFLite_Detection_PostProcess ends one-stage detectors only: it has no masks and no second stage"
NO_UINT8 = "uint8 weights come from a brought graph with fake-quant nodes; our own training rounds to int8 (qat_int8)"


@dataclass(frozen=True)
class Exclusion:
    """Schemes that do not apply to a brought graph.

    Attributes:
      applies: Whether this is such a scheme and such a graph.
      reason: One line from what is known of the graph.
    """

    applies: Callable[[Scheme, BroughtFacts], bool]
    reason: Callable[[BroughtFacts], str]


def _of_float_schemes(scheme: Scheme, facts: BroughtFacts) -> bool:
    return bool(facts.num_fake_quant) and scheme.source is Variant.TRAINED


def _tell(facts: BroughtFacts, why: str) -> str:
    instead = ", ".join(name for name, scheme in SCHEMES.items() if scheme.source is Variant.QAT)
    return f"the graph has {facts.num_fake_quant} fake-quant nodes: {why}; use {instead}"


EXCLUSIONS = (
    Exclusion(
        lambda scheme, facts: _of_float_schemes(scheme, facts) and scheme.needs_calibration,
        lambda facts: _tell(facts, "post-training quantization would measure ranges that training has put into it"),
    ),
    Exclusion(
        lambda scheme, facts: _of_float_schemes(scheme, facts) and scheme.weights is not Precision.FLOAT32,
        lambda facts: _tell(facts, "`optimizations` would round weights a second time, on another grid"),
    ),
    Exclusion(
        _of_float_schemes,
        lambda facts: _tell(facts, "in float it would only simulate its rounding, slower than any integer file"),
    ),
    Exclusion(
        lambda scheme, facts: scheme.weights is Precision.UINT8 and bool(facts.no_uint8),
        lambda facts: facts.no_uint8,
    ),
)
"""THE TABLE of what does not apply to brought graphs; the first row that applies gives the reason."""


def why_not_applicable(scheme: Scheme, exported: Path) -> str:
    """Why the scheme does not apply to an exported graph; empty if it does."""
    facts = read_brought_facts(exported)
    if facts is not None:
        if facts.finished:
            return _why_not_of_finished(scheme, facts, exported)
        found = next((row for row in EXCLUSIONS if row.applies(scheme, facts)), None)
        if found is not None:
            return found.reason(facts)
    if scheme.form is Form.POSTPROCESS_OP and not (exported / TFLITE_FILES[scheme.form]).is_file():
        return ONE_STAGE_ONLY
    if scheme.weights is Precision.UINT8 and not (exported / QUANTIZED_FILE).is_file():
        return NO_UINT8
    return ""


def _why_not_of_finished(scheme: Scheme, facts: BroughtFacts, exported: Path) -> str:
    """A finished file is the schemes that its bytes do not contradict; of a float32 one others are made as well."""
    if scheme.backend != facts.kind:
        return (
            f"a finished {facts.kind} file was brought: files for {scheme.backend} need its SavedModel or frozen graph"
        )
    form = next((form for form, name in TFLITE_FILES.items() if name == facts.finished), Form.BUILTIN)
    if form != scheme.form:
        ends = f"ends {'in' if form == Form.POSTPROCESS_OP else 'without'} TFLite_Detection_PostProcess"
        return f"the finished file {ends}, and it cannot be given another ending"
    if facts.is_float and scheme.weights is not Precision.UINT8:
        if scheme.input is not Precision.FLOAT32 and not facts.takes_pixels:
            return "its float input takes normalised values, not pixels: uint8 pixels would need another graph"
        return ""
    # Only here, because the tools that read an IR are loaded for it.
    proof = TOOLS[scheme.backend]().prove(exported / facts.finished, scheme)
    if proof.contradictions:
        return f"the finished file has {facts.numbers}: {proof.contradictions[0]}"
    return ""
