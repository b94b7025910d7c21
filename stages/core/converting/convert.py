"""One cell of model x scheme: make the file, prove it, run it once, record how it ended."""

import dataclasses
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from stages.core.converting.flatbuffer import parse_model, read_model_bytes
from stages.core.converting.probe import probe_file
from stages.core.converting.proof import prove_file
from stages.core.converting.recipes import Source, make_file
from stages.core.errors import ArtifactError, DataError
from stages.core.hashing import hash_file
from stages.core.interface import InputDtype, Interface, read_interface, write_interface
from stages.core.jsonfile import write_json
from stages.core.results import Conversion, Status
from stages.core.schemes import Precision, Scheme
from stages.core.versions import read_versions

MODEL_FILE = "model.tflite"
INPUT_DTYPES: dict[Precision, InputDtype] = {Precision.FLOAT32: "float32", Precision.UINT8: "uint8"}
PACKAGES = ("ai-edge-litert", "ai-edge-quantizer", "numpy")


class _NotConvertedError(Exception):
    """Why the cell is `failed`: data for the report, not an error of the run."""


def convert_model(
    scheme: Scheme,
    *,
    exported: Path,
    images: Sequence[Path],
    calibration_sha256: str,
    out_dir: Path,
    timeout_s: float,
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

    Raises:
      MissingResultError: if nothing was exported.
      DataError: if the scheme needs calibration images and there are none.
    """
    start = time.monotonic()
    interface = interface_for(scheme, read_interface(exported))
    partial = out_dir.with_name(f".{out_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_interface(interface, partial)
        reason = ""
        try:
            _make_and_check(scheme, exported / MODEL_FILE, images, partial, interface, timeout_s)
        except (_NotConvertedError, ArtifactError) as error:
            # Paths below models/, so that results do not depend on where the project lies.
            reason = str(error).replace(f"{exported.parents[2]}{os.sep}", "").replace(f"{partial}{os.sep}", "")
        conversion = _record(scheme, interface, partial, reason, images, calibration_sha256, time.monotonic() - start)
        write_json(conversion, partial / "result.json")
        shutil.rmtree(out_dir, ignore_errors=True)
        partial.replace(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return conversion


def interface_for(scheme: Scheme, interface: Interface) -> Interface:
    """The exported contract with the scheme's input type."""
    return dataclasses.replace(interface, input=dataclasses.replace(interface.input, dtype=INPUT_DTYPES[scheme.input]))


def _make_and_check(
    scheme: Scheme, source: Path, images: Sequence[Path], folder: Path, interface: Interface, timeout_s: float
) -> None:
    content = read_model_bytes(source)
    parse_model(content, source)
    made = _make(scheme, Source(content=content, images=images, spec=interface.input))
    path = folder / MODEL_FILE
    path.write_bytes(made)
    proof = prove_file(made, scheme, path.name)
    write_json(proof, folder / "proof.json")
    if proof.contradictions:
        raise _NotConvertedError(f"the file contradicts its scheme: {'; '.join(proof.contradictions)}")
    if reason := probe_file(path, scheme.backend, timeout_s=timeout_s):
        raise _NotConvertedError(reason)


def _make(scheme: Scheme, source: Source) -> bytes:
    try:
        return make_file(source, scheme)
    except (ArtifactError, DataError):
        raise
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, NotImplementedError) as error:
        # The quantizer and the runtime refuse a graph with whatever exception is at hand.
        raise _NotConvertedError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def _record(
    scheme: Scheme,
    interface: Interface,
    folder: Path,
    reason: str,
    images: Sequence[Path],
    calibration_sha256: str,
    seconds: float,
) -> Conversion:
    path = folder / MODEL_FILE
    made = path.is_file()
    return Conversion(
        model=interface.model,
        scheme=scheme.name,
        backend=scheme.backend,
        source=scheme.source,
        status=Status.FAILED if reason else Status.OK,
        reason=reason,
        artifact=MODEL_FILE if made else None,
        sha256=hash_file(path) if made else None,
        size_bytes=path.stat().st_size if made else None,
        calibration_images=len(images) if scheme.needs_calibration else 0,
        calibration_sha256=calibration_sha256 if scheme.needs_calibration else None,
        seconds=round(seconds, 3),
        versions=read_versions(*PACKAGES),
    )
