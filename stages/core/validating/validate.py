"""Accuracy of one converted file on a split, beside the float model's under the same post-processing."""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.base.hashing import hash_value
from stages.core.base.versions import read_versions
from stages.core.datasets.prepared import PreparedImage, PreparedSplit, check_labels
from stages.core.datasets.subset import choose_shown
from stages.core.params.steps import MAX_SHOWN_IMAGES
from stages.core.processing.stored_outputs import StoredOutputs, load_outputs
from stages.core.results.conversion import Conversion
from stages.core.results.interface import Interface
from stages.core.results.kinds import Backend
from stages.core.results.preparation import PrepareReport
from stages.core.results.status import Status
from stages.core.results.validation import AveragePrecision, Protocol, Validation
from stages.core.running.artifact import DamagedFileError, read_artifact
from stages.core.running.isolated import IsolatedRunner
from stages.core.running.open import RUNTIME_PACKAGES
from stages.core.validating.agreement import measure_agreement
from stages.core.validating.bootstrap import measure_intervals
from stages.core.validating.class_results import measure_classes
from stages.core.validating.class_shift import find_class_shift
from stages.core.validating.coco_ap import IOU_RANGE, MAX_DETECTIONS, measure_accuracy
from stages.core.validating.color_order import find_color_swap
from stages.core.validating.gathering import Gathered, choose_evaluated, decode_reference, run_images, stack_outputs
from stages.core.validating.moved_images import MovedImages
from stages.core.validating.parity import measure_parity

_PACKAGES = ("faster-coco-eval", "numpy", "pycocotools")


def validate_conversion(
    conversion: Conversion,
    *,
    folder: Path,
    interface: Interface,
    reference_path: Path,
    split: PreparedSplit,
    prepared: PrepareReport,
    num_threads: int,
    max_seconds: float,
    subset_images: int,
    agreement_score: float,
) -> tuple[Validation, StoredOutputs]:
    """Evaluates the file of one row; one without a file, or with one that is damaged or does not run, keeps its row.

    Args:
      conversion: result.json of the cell; folder: where it is.
      interface: Of the float model; reference_path: file of its outputs on the split.
      split: The evaluated images; prepared: what `prepare` says of it.
      num_threads: Threads of one inference.
      max_seconds: A file that would need longer for the whole split is evaluated on a fixed subset of `subset_images`.
      agreement_score: Detections below are left out of the agreement and of the confusion matrix.

    Returns:
      The result, and the file's outputs on the images that the report may show, those that moved most among them
      (empty when it did not run).

    Raises:
      ArtifactError: if the file is another than the converted one, or the reference is of another split.
      MissingResultError: if there is no reference.
      DataError: if the file, or the float model, was trained on other labels.
    """
    start = time.monotonic()
    if conversion.status is not Status.OK:
        return _unjudged(conversion, conversion.status, conversion.reason, start), stack_outputs(split.name, {})
    try:
        artifact = read_artifact(folder, conversion)
    except DamagedFileError as error:
        return _unjudged(conversion, Status.FAILED, str(error), start), stack_outputs(split.name, {})
    for labels, where in ((interface.labels, reference_path), (artifact.interface.labels, artifact.path)):
        check_labels(labels, split.labels, where)
    if interface.trained_data_sha256 not in ("", prepared.sha256):
        print(f"note: {conversion.model} is evaluated on other data than it was trained with", file=sys.stderr)
    reference = read_reference(reference_path, split)
    shown_ids = choose_shown(split.by_id, MAX_SHOWN_IMAGES, subset_images=subset_images)
    raw_ids = reference.raw_image_ids.tolist() if artifact.interface.raw_outputs else []
    try:
        with IsolatedRunner(artifact, num_threads=num_threads, keep_raw=bool(raw_ids)) as runner:
            images, why = choose_evaluated(runner, split, max_seconds=max_seconds, subset_images=subset_images)
            shown = show_evaluation(images, f"validate {conversion.model} {conversion.scheme}")
            floats = decode_reference(reference, interface, images)
            moved = MovedImages(floats.detections, score_threshold=agreement_score)
            found = run_images(runner, shown, keep_ids=shown_ids, raw_ids=raw_ids, moved=moved)
    except (ArtifactError, InferenceError) as error:
        return _unjudged(conversion, Status.FAILED, str(error), start), stack_outputs(split.name, {})
    compared = compare_models(conversion, found, floats, split.annotations, agreement_score=agreement_score)
    stated = compared.reference.box.ap if compared.reference else None
    validation = replace(
        compared,
        notes=find_wrong_statements(reference, interface, images, split.annotations, box_ap=stated),
        protocol=describe_protocol(artifact.interface, split, images, why, prepared.splits[split.name].sha256),
        seconds=time.monotonic() - start,
    )
    return validation, stack_outputs(split.name, found.outputs)


def find_wrong_statements(
    reference: StoredOutputs,
    interface: Interface,
    images: tuple[PreparedImage, ...],
    annotations: Path,
    *,
    box_ap: float | None,
) -> tuple[str, ...]:
    """Warnings where a brought model's entry seems to state something wrongly; nothing for our own models."""
    if not reference.swapped_image_ids.size:
        return ()
    return (
        *find_class_shift(reference, interface, images, annotations, box_ap=box_ap),
        *find_color_swap(reference, interface, images, annotations),
    )


def read_reference(path: Path, split: PreparedSplit) -> StoredOutputs:
    """The float model's outputs, if they are of this split."""
    reference = load_outputs(path)
    if reference.split != split.name:
        found, wanted = reference.split, split.name
        raise ArtifactError(f"{path}: outputs on {found!r}, but validate.split is {wanted!r}; run `reference` again")
    return reference


def compare_models(
    conversion: Conversion, found: Gathered, floats: Gathered, annotations: Path, *, agreement_score: float
) -> Validation:
    """AP of both, drops, how far they are known, the file class by class, parity and agreement."""
    box, mask = found.results.compare(annotations)
    float_box, float_mask = floats.results.compare(annotations)
    accuracy, float_accuracy = measure_accuracy(box, mask), measure_accuracy(float_box, float_mask)
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
        box_intervals=measure_intervals(box, float_box),
        mask_intervals=None if mask is None or float_mask is None else measure_intervals(mask, float_mask),
        box_classes=measure_classes(box, score_threshold=agreement_score),
        mask_classes=None if mask is None else measure_classes(mask, score_threshold=agreement_score),
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
    """What the numbers were measured on; `why` fewer images than all were evaluated."""
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


def show_evaluation(images: tuple[PreparedImage, ...], label: str) -> Iterable[PreparedImage]:
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
