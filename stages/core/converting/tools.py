"""THE TABLE of conversion tools, by backend. Each is imported only where it is used."""

import sys
from collections.abc import Callable

from stages.core.base.layout import MODEL_FILES
from stages.core.converting.job import Tool
from stages.core.results.kinds import Backend

PACKAGES: dict[Backend, tuple[str, ...]] = {
    Backend.TFLITE: ("ai-edge-litert", "ai-edge-quantizer", "numpy"),
    Backend.OPENVINO: ("openvino", "nncf", "numpy"),
}
"""Whose versions a file depends on."""


def _load_tflite() -> Tool:
    from stages.core.converting.proof import prove_tflite
    from stages.core.converting.recipes import make_tflite

    return Tool(files=MODEL_FILES[Backend.TFLITE], make=make_tflite, prove=prove_tflite)


def forbid_telemetry() -> None:
    """Keeps OpenVINO and NNCF from reporting their use to a server, if called before they are imported.

    They do so when this package can be imported; without it they use stubs of their own.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def _load_openvino() -> Tool:
    forbid_telemetry()
    from stages.core.converting.openvino import make_ir, prove_ir

    return Tool(files=MODEL_FILES[Backend.OPENVINO], make=make_ir, prove=prove_ir)


TOOLS: dict[Backend, Callable[[], Tool]] = {Backend.TFLITE: _load_tflite, Backend.OPENVINO: _load_openvino}
