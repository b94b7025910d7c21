"""Accuracy of one shipped file on a split, beside the float model's under the same post-processing."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from stages.core.datasets.prepared import PreparedImage, PreparedSplit
from stages.core.errors import ArtifactError
from stages.core.hashing import hash_value
from stages.core.interface import Interface, read_interface
from stages.core.measuring.agreement import measure_agreement
from stages.core.measuring.coco_ap import IOU_RANGE, MAX_DETECTIONS
from stages.core.measuring.gathering import Gathered, choose_images, decode_reference, run_images, stack_outputs
from stages.core.measuring.parity import measure_parity
from stages.core.reference import Reference, load_reference
from stages.core.results.conversion import Conversion
from stages.core.results.status import Status
from stages.core.results.validation import AveragePrecision, Protocol, Validation
from stages.core.running.artifact import DamagedFileError, read_artifact
from stages.core.running.isolated import IsolatedRunner
from stages.core.running.runner import RUNTIME_PACKAGES, InferenceError
from stages.core.schemes import Backend
from stages.core.subset import choose_pictures
from stages.core.versions import read_versions

_PACKAGES = ("faster-coco-eval", "numpy", "opencv-python-headless", "pycocotools")


def judge_conversion(
    conversion: Conversion,
    *,
    folder: Path,
    exported: Path,
    split: PreparedSplit,
    data_sha256: str,
    num_threads: int,
    max_seconds: float,
    subset_images: int,
    agreement_score: float,
    num_pictures: int,
) -> tuple[Validation, Reference]:
    """Judges the file of one cell; one without a file, or with one that is damaged or does not run, keeps its row.

    Args:
      conversion: result.json of the cell; folder: where it lies.
      exported: Folder of the float model's interface.json and reference.npz.
      split: The judged images; data_sha256: hash of that split.
      num_threads: Threads of one inference.
      max_seconds: A file that would need longer for the whole split is judged on the fixed subset of `subset_images`.
      agreement_score: Detections below are left out of the agreement.
      num_pictures: How many images' outputs are kept for the report.

    Returns:
      The result, and the file's outputs on the report's pictures (empty when it did not run).

    Raises:
      ArtifactError: if the file is another than the converted one, or the reference is of another split.
      MissingResultError: if there is no reference.
    """
    start = time.monotonic()
    if conversion.status is not Status.OK:
        return _unjudged(conversion, conversion.status, conversion.reason, start), stack_outputs(split.name, {})
    try:
        artifact = read_artifact(folder, conversion)
    except DamagedFileError as error:
        return _unjudged(conversion, Status.FAILED, str(error), start), stack_outputs(split.name, {})
    reference = read_reference(exported, split)
    pictures = choose_pictures(split.by_id, num_pictures=num_pictures, subset_images=subset_images)
    raw_ids = reference.raw_image_ids.tolist() if artifact.interface.raw_outputs else []
    try:
        with IsolatedRunner(artifact, num_threads=num_threads, keep_raw=bool(raw_ids)) as runner:
            images, why = choose_images(runner, split, max_seconds=max_seconds, subset_images=subset_images)
            shown = show_progress(images, f"validate {conversion.model} {conversion.scheme}")
            found = run_images(runner, shown, pictures=pictures, raw_ids=raw_ids)
    except (ArtifactError, InferenceError) as error:
        return _unjudged(conversion, Status.FAILED, str(error), start), stack_outputs(split.name, {})
    floats = decode_reference(reference, read_interface(exported), images)
    validation = replace(
        compare_models(conversion, found, floats, split.annotations, agreement_score=agreement_score),
        protocol=describe_protocol(artifact.interface, split, images, why, data_sha256),
        seconds=time.monotonic() - start,
    )
    return validation, stack_outputs(split.name, found.outputs)


def read_reference(exported: Path, split: PreparedSplit) -> Reference:
    """The float model's outputs, if they are of this split."""
    path = exported / "reference.npz"
    reference = load_reference(path)
    if reference.split != split.name:
        found, wanted = reference.split, split.name
        raise ArtifactError(f"{path}: outputs on {found!r}, but validate.split is {wanted!r}; run `export` again")
    return reference


def compare_models(
    conversion: Conversion, found: Gathered, floats: Gathered, annotations: Path, *, agreement_score: float
) -> Validation:
    """AP of both, drops, parity and agreement."""
    accuracy, float_accuracy = found.results.measure(annotations), floats.results.measure(annotations)
    pairs = [(floats.raw_outputs[image_id], raw) for image_id, raw in found.raw_outputs.items()]
    return Validation(
        model=conversion.model,
        scheme=conversion.scheme,
        status=Status.OK,
        artifact_sha256=conversion.sha256,
        accuracy=accuracy,
        reference=float_accuracy,
        box_ap_drop=ap_drop(float_accuracy.box, accuracy.box),
        mask_ap_drop=ap_drop(float_accuracy.mask, accuracy.mask),
        parity=measure_parity(pairs),
        agreement=measure_agreement(
            ((image_id, floats.detections[image_id], got) for image_id, got in found.detections.items()),
            score_threshold=agreement_score,
        ),
        seconds=0.0,
        versions=read_versions(*_PACKAGES, *RUNTIME_PACKAGES[Backend(conversion.backend)]),
    )


def ap_drop(reference: AveragePrecision | None, got: AveragePrecision | None) -> float | None:
    """Points that the file lost; None where one side has no AP."""
    if reference is None or got is None or reference.ap is None or got.ap is None:
        return None
    return reference.ap - got.ap


def describe_protocol(
    interface: Interface, split: PreparedSplit, images: tuple[PreparedImage, ...], why: str, data_sha256: str
) -> Protocol:
    """What the numbers were measured on; `why` fewer images than all were judged."""
    return Protocol(
        split=split.name,
        num_images=len(images),
        split_images=len(split.images),
        subset=why,
        image_ids_sha256=hash_value(sorted(image.image_id for image in images)),
        data_sha256=data_sha256,
        iou_range=IOU_RANGE,
        max_detections=MAX_DETECTIONS,
        score_floor=interface.post_processing.score_threshold,
    )


def show_progress(images: tuple[PreparedImage, ...], label: str) -> Iterable[PreparedImage]:
    """The images, with a progress bar on stderr."""
    return track(images, description=label, console=Console(stderr=True))


def _unjudged(conversion: Conversion, status: Status, reason: str, start: float) -> Validation:
    return Validation(
        model=conversion.model,
        scheme=conversion.scheme,
        status=status,
        reason=reason,
        artifact_sha256=conversion.sha256,
        seconds=time.monotonic() - start,
        versions=read_versions(*_PACKAGES, *RUNTIME_PACKAGES[Backend(conversion.backend)]),
    )
