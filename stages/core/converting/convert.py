"""One cell of model x scheme: make the file, prove it, run it once, record how it ended."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.core.converting.child import run_child
from stages.core.converting.job import Made
from stages.core.converting.make import MADE_FILE, MODULE, PROOF_FILE
from stages.core.converting.probe import probe_file
from stages.core.converting.tools import FILES, PACKAGES
from stages.core.errors import DataError
from stages.core.hashing import hash_files
from stages.core.interface import InputDtype, Interface, read_interface, write_interface
from stages.core.jsonfile import read_json, write_json
from stages.core.layout import TFLITE_FILES
from stages.core.results.conversion import Conversion, Proof
from stages.core.results.status import Status
from stages.core.results.training import TrainResult
from stages.core.schemes import Form, Precision, Scheme
from stages.core.variants import read_unneeded
from stages.core.versions import read_versions

RESULT_FILE = "result.json"
MAKE_TIMEOUT_S = 1800.0
POSTPROCESS_OP_METHOD = "TFLite_Detection_PostProcess: fast, class-agnostic non-maximum suppression"
INPUT_DTYPES: dict[Precision, InputDtype] = {Precision.FLOAT32: "float32", Precision.UINT8: "uint8"}


def convert_model(
    scheme: Scheme,
    *,
    exported: Path,
    images: Sequence[Path],
    calibration_sha256: str,
    out_dir: Path,
    timeout_s: float,
    mask_block: int = 0,
) -> Conversion:
    """Converts an exported graph and writes the folder: model file, interface.json, proof.json, result.json.

    A file that cannot be made, that its own bytes contradict, or that does not run gives status `failed` and a reason.
    The folder appears as a whole or not at all.

    Args:
      scheme: Row of the table.
      exported: Folder that `export` wrote for the scheme's source variant.
      images: Calibration images, in the list's order.
      calibration_sha256: Hash of that list.
      out_dir: Folder of the cell; replaced.
      timeout_s: Limit for the one inference in a fresh process.
      mask_block: Detections of one block of the mask head; 0 leaves it in one piece.

    Raises:
      MissingResultError: if nothing was exported.
      DataError: if the scheme needs calibration images and there are none.
    """
    if scheme.needs_calibration and not images:
        raise DataError("the calibration list is empty; run `prepare` again")
    if unneeded := read_unneeded(exported):
        return _leave_out(scheme, unneeded, out_dir)
    interface = interface_for(scheme, read_interface(exported))
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_interface(interface, partial)
        status, reason = Status.OK, missing_form(scheme, exported)
        if reason:
            status = Status.NOT_APPLICABLE
        elif reason := _make_and_check(scheme, exported, images, partial, timeout_s, mask_block):
            # Paths below models/, so that results do not depend on where the project lies.
            status, reason = Status.FAILED, _shorten_paths(reason, exported.parents[2], partial)
        made = _take_made(partial)
        conversion = Conversion(
            model=interface.model,
            scheme=scheme.name,
            backend=scheme.backend,
            source=scheme.source,
            status=status,
            reason=reason,
            **_describe_files([partial / name for name in FILES[scheme.backend]]),
            calibration_images=made.calibration_images,
            calibration_sha256=calibration_sha256 if made.calibration_images else None,
            calibration_detections=made.calibration_detections,
            notes=made.notes,
            versions=read_versions(*PACKAGES[scheme.backend]),
        )
        write_json(conversion, partial / RESULT_FILE)
        shutil.rmtree(out_dir, ignore_errors=True)
        partial.replace(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return conversion


def _leave_out(scheme: Scheme, unneeded: TrainResult, out_dir: Path) -> Conversion:
    """The cell of a scheme whose weights were not made."""
    conversion = Conversion(
        model=unneeded.model,
        scheme=scheme.name,
        backend=scheme.backend,
        source=scheme.source,
        status=Status.NOT_APPLICABLE,
        reason=unneeded.reason,
        versions={},
    )
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.mkdir(parents=True)
    write_json(conversion, out_dir / RESULT_FILE)
    return conversion


def interface_for(scheme: Scheme, interface: Interface) -> Interface:
    """The exported contract with the scheme's input type and form of suppression.

    Raw outputs are readable as inputs of the custom op only: in other files nothing marks them.
    """
    spec = dataclasses.replace(interface.input, dtype=INPUT_DTYPES[scheme.input])
    if scheme.form is Form.BUILTIN:
        return dataclasses.replace(interface, input=spec, raw_outputs=())
    post_processing = dataclasses.replace(interface.post_processing, method=POSTPROCESS_OP_METHOD)
    return dataclasses.replace(interface, input=spec, post_processing=post_processing)


def missing_form(scheme: Scheme, exported: Path) -> str:
    """Why the scheme does not apply to this model; empty if it does."""
    if scheme.form is Form.BUILTIN or (exported / TFLITE_FILES[scheme.form]).is_file():
        return ""
    return "TFLite_Detection_PostProcess ends one-stage detectors only: it has no masks and no second stage"


def _make_and_check(
    scheme: Scheme, exported: Path, images: Sequence[Path], folder: Path, timeout_s: float, mask_block: int
) -> str:
    """Why there is no file that holds; empty if there is one."""
    listed = folder / "images.json"
    write_json([str(path) for path in images] if scheme.has_integer_activations else [], listed)
    asked = (
        "--exported",
        str(exported),
        "--folder",
        str(folder),
        "--images",
        str(listed),
        "--mask-block",
        str(mask_block),
    )
    reason = run_child(MODULE, scheme.name, *asked, timeout_s=MAKE_TIMEOUT_S, doing="making the file", show=True)
    listed.unlink()
    if reason:
        return reason
    proof = read_json(Proof, folder / PROOF_FILE)
    if proof.contradictions:
        return f"the file contradicts its scheme: {'; '.join(proof.contradictions)}"
    return probe_file(folder / FILES[scheme.backend][0], scheme.backend, timeout_s=timeout_s)


def _take_made(folder: Path) -> Made:
    path = folder / MADE_FILE
    if not path.is_file():
        return Made()
    made = read_json(Made, path)
    path.unlink()
    return made


def _shorten_paths(reason: str, models: Path, partial: Path) -> str:
    for folder in (partial, partial.resolve(), models, models.resolve()):
        reason = reason.replace(f"{folder}{os.sep}", "")
    return reason


def _describe_files(paths: Sequence[Path]) -> dict[str, Any]:
    if not all(path.is_file() for path in paths):
        return {}
    return {
        "artifact": paths[0].name,
        "companions": tuple(path.name for path in paths[1:]),
        "sha256": hash_files(paths),
        "size_bytes": sum(path.stat().st_size for path in paths),
    }
