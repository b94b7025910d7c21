"""One cell of model x scheme: make the file, prove it, run it once, record how it ended."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.core.base.errors import DataError, UserError
from stages.core.base.folders import replaced_folder
from stages.core.base.hashing import hash_files
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import MODEL_FILES, PROOF_FILE, RESULT_FILE
from stages.core.base.processes import ProcessFailedError, run_in_child
from stages.core.base.system_errors import describe_system_error
from stages.core.base.versions import read_versions
from stages.core.converting.applicability import why_not_applicable
from stages.core.converting.ir_options import asked_for, describe_batch, scheme_with, sized, why_not_asked
from stages.core.converting.job import ConversionJob, Made
from stages.core.converting.make import make_and_prove
from stages.core.converting.probe import probe_file
from stages.core.converting.tools import PACKAGES
from stages.core.params.openvino import NOTHING_ASKED, OpenvinoParams
from stages.core.results.brought import read_brought_facts
from stages.core.results.conversion import Conversion, Proof
from stages.core.results.interface import InputDtype, Interface, read_interface, write_interface
from stages.core.results.kinds import Backend, Form, Precision
from stages.core.results.labels import write_label_list
from stages.core.results.not_needed import read_not_needed
from stages.core.results.status import Status
from stages.core.results.training import TrainResult
from stages.core.tables.schemes import Scheme

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
    openvino: OpenvinoParams = NOTHING_ASKED,
) -> Conversion:
    """Converts an exported graph and writes the folder: model file, its contract, labels, proof and record.

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
      openvino: What an OpenVINO file is asked to be beyond its scheme.

    Raises:
      MissingResultError: if nothing was exported.
      DataError: if the scheme needs calibration images and there are none.
    """
    if scheme.needs_calibration and not images:
        raise DataError("the calibration list is empty; run `prepare` again")
    if not_needed := read_not_needed(exported):
        return _leave_out(scheme, not_needed, out_dir)
    facts = read_brought_facts(exported)
    interface = interface_for(scheme, read_interface(exported))
    asked = openvino if scheme.backend is Backend.OPENVINO else NOTHING_ASKED
    with replaced_folder(out_dir) as partial:
        write_interface(asked_for(interface, asked), partial)
        reason = why_not_applicable(scheme, exported) or why_not_asked(interface, facts, asked)
        status, made = Status.OK, Made()
        if reason:
            status = Status.NOT_APPLICABLE
        else:
            job = ConversionJob(
                scheme=scheme_with(scheme, asked),
                exported=exported,
                images=images if scheme.has_integer_activations else (),
                interface=sized(interface, asked),
                folder=partial,
                mask_block=mask_block,
                openvino=asked,
            )
            made, reason = _make_and_check(job, timeout_s)
            if reason:
                # Paths below models/, so that results do not depend on where the project is.
                status, reason = Status.FAILED, _shorten_paths(reason, exported.parents[2], partial)
            else:
                write_label_list(interface, partial)
        conversion = Conversion(
            model=interface.model,
            scheme=scheme.name,
            backend=scheme.backend,
            source=scheme.source,
            status=status,
            reason=reason,
            **_describe_files([partial / name for name in MODEL_FILES[scheme.backend]]),
            calibration_images=made.calibration_images,
            calibration_sha256=calibration_sha256 if made.calibration_images else None,
            calibration_detections=made.calibration_detections,
            notes=(*made.notes, *(facts.notes if facts else ()), *describe_batch(asked)),
            versions=read_versions(*PACKAGES[scheme.backend]),
        )
        write_json(conversion, partial / RESULT_FILE)
    return conversion


def _leave_out(scheme: Scheme, not_needed: TrainResult, out_dir: Path) -> Conversion:
    """The row of a scheme whose weights were not made."""
    conversion = Conversion(
        model=not_needed.model,
        scheme=scheme.name,
        backend=scheme.backend,
        source=scheme.source,
        status=Status.NOT_APPLICABLE,
        reason=not_needed.reason,
        versions={},
    )
    with replaced_folder(out_dir) as partial:
        write_json(conversion, partial / RESULT_FILE)
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


def _make_and_check(job: ConversionJob, timeout_s: float) -> tuple[Made, str]:
    """What making the file told, and why there is no file that holds; the reason is empty if there is one."""
    try:
        made = run_in_child(make_and_prove, job, timeout_s=MAKE_TIMEOUT_S, doing="making the file", show_stderr=True)
    except (UserError, ProcessFailedError) as error:
        return Made(), " ".join(str(error).split())
    except ModuleNotFoundError:
        raise
    except Exception as error:
        if describe_system_error(error):
            raise  # a full disk says nothing of the scheme
        # A quantizer's or runtime's own kind of refusal; a bug of ours would show its traceback here.
        print(*getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return Made(), f"{type(error).__name__}: {' '.join(str(error).split())}"
    proof = read_json(Proof, job.folder / PROOF_FILE)
    if proof.contradictions:
        return made, f"the file contradicts its scheme: {'; '.join(proof.contradictions)}"
    path = job.folder / MODEL_FILES[job.scheme.backend][0]
    return made, probe_file(path, job.scheme.backend, timeout_s=timeout_s)


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
