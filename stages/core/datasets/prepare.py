"""The whole of `prepare`: from a source to splits, records, ground truth, calibration list and report."""

import re
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.core.base.errors import DataError
from stages.core.base.folders import replaced_folder
from stages.core.base.hashing import hash_file, hash_value
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import ANNOTATIONS_FILE, CALIBRATION_FILE, LABEL_MAP_FILE, LABELS_FILE, PREPARE_REPORT_FILE
from stages.core.datasets.annotations import StoredImage, images_to_coco, number_annotations
from stages.core.datasets.box_counts import judge_boxes
from stages.core.datasets.calibration import choose_calibration
from stages.core.datasets.checking import CheckTask, check_image
from stages.core.datasets.leaks import find_leaks, judge_leaks
from stages.core.datasets.near_duplicates import find_near_duplicates
from stages.core.datasets.readers import read_any_source, settle_source
from stages.core.datasets.records import Record, open_shards
from stages.core.datasets.samples import SPLITS, Sample, Source, Split
from stages.core.datasets.splitting import assign_splits
from stages.core.datasets.tally import Tally
from stages.core.datasets.tidying import decide_masks, merge_entries, note_crowds, note_found, note_similar_names
from stages.core.datasets.workers import Workers
from stages.core.masks.segmentations import decode_mask, mask_to_png
from stages.core.params.steps import PrepareParams
from stages.core.results.preparation import CalibrationImage, CalibrationList, PrepareReport, SplitSummary
from stages.core.tfod.files import write_text
from stages.core.tfod.label_map import print_label_map

SUFFIXES = {"jpeg": ".jpg", "png": ".png"}


@dataclass(frozen=True, kw_only=True)
class StoreTask:
    """One image to copy to its path."""

    image: StoredImage
    path: Path


def prepare_data(params: PrepareParams, *, folder: Path, out_dir: Path) -> PrepareReport:
    """Reads, checks, splits and writes a data set; the same input and parameters give the same bytes.

    Everything is written beside `out_dir` first and replaces it at the end: bad input loses nothing.

    Args:
      params: What to read and how.
      folder: Where the labelled images are (not used by the synthetic set).
      out_dir: What becomes `data/prepared`.

    Raises:
      DataError: if the source cannot be read, too much of it is rejected, or a split comes out empty.
    """
    params, notes = settle_source(params, folder)
    with replaced_folder(out_dir) as partial, Workers() as workers:
        scratch = partial / "scratch"
        drawn, repaired = scratch / "drawn", scratch / "repaired"
        for needed in (drawn, repaired):
            needed.mkdir(parents=True)
        source = read_any_source(params, folder, drawn, workers)
        where = params.source if params.source == "synthetic" else str(folder)
        check_classes(source, where, params.min_classes)
        images, on_entries = merge_entries(source.images)
        has_masks, on_masks = decide_masks(images, source, params.masks, params.max_rejected_fraction)
        notes += [*source.notes, *note_similar_names(source.labels.values()), *on_entries, *on_masks]
        notes += [*note_found(images), *note_crowds(images)]
        tally = Tally(source.fates)
        tasks = [
            CheckTask(
                image=image,
                repaired_path=repaired / f"{number:08d}",
                max_side=params.max_side,
                needs_masks=has_masks,
                difficult=params.difficult,
                exif=params.exif,
                min_shrunk_side=params.min_shrunk_side,
                box_form=source.box_form,
                with_hash=params.near_duplicate_bits is not None,
            )
            for number, image in enumerate(images)
        ]
        samples = check_images(tasks, workers, tally)
        judge_boxes(tally.boxes, where, source.box_form)
        tally.judge(where, params.max_rejected_fraction)
        leaks = find_leaks(samples)
        notes += judge_leaks(leaks, where, num_images=len(samples), max_rejected_fraction=params.max_rejected_fraction)
        splits, copies = assign_splits(samples, params.split, seed=params.seed)
        alike = find_near_duplicates(splits, params.near_duplicate_bits or 0)
        notes += [found.describe() for found in alike]
        tally.drop_copies(copies)
        tally.judge(where, params.max_rejected_fraction)
        stored = place_images(splits)
        check_objects_left(stored)
        annotation_ids = number_annotations()
        for split in SPLITS:
            write_json(images_to_coco(stored[split], source.labels, annotation_ids), partial / split / ANNOTATIONS_FILE)
            write_images(stored[split], partial / split, source.labels, params.num_shards, workers)
        shutil.rmtree(scratch)
        write_json({str(key): name for key, name in source.labels.items()}, partial / LABELS_FILE)
        write_text(print_label_map(source.labels), partial / LABEL_MAP_FILE)
        write_json(
            list_calibration(stored["train"], partial, num_images=params.calibration_images, seed=params.seed),
            partial / CALIBRATION_FILE,
        )
        report = tally.report(
            params.source,
            {split: summarise(stored[split], source, partial / split) for split in SPLITS},
            notes=notes,
            leaks={leak.name: leak.num_images for leak in leaks},
            near_duplicates={" and ".join(found.splits): found.num_images for found in alike},
        )
        write_json(report, partial / PREPARE_REPORT_FILE)
    return report


def check_classes(source: Source, where: str, min_classes: int) -> None:
    """Raises DataError when the source has fewer classes than expected: most often a label map gone wrong.

    Also when a name holds a control character or half of one, which no label file can.
    """
    for name in source.labels.values():
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise DataError(f"{where}: class name {name!r} holds a control character, or one that is no Unicode")
    if len(source.labels) < min_classes:
        names = ", ".join(repr(name) for name in source.labels.values())
        raise DataError(
            f"{where}: {len(source.labels)} class only ({names}), prepare.min_classes is {min_classes}; "
            f"set it to {len(source.labels)} if that is meant"
        )


def check_images(tasks: Sequence[CheckTask], workers: Workers, tally: Tally) -> list[Sample]:
    """Decodes every image once; what cannot be used is counted in `tally`, with its reason."""
    samples = []
    for checked in workers.map(check_image, tasks, label="checking images"):
        tally.add(checked)
        if checked.sample:
            samples.append(checked.sample)
    return samples


def place_images(splits: dict[Split, list[Sample]]) -> dict[Split, list[StoredImage]]:
    """Gives images ids from 1, unique over all splits, and file names that are unique within each."""
    stored: dict[Split, list[StoredImage]] = {}
    next_id = 1
    for split in SPLITS:
        taken: set[str] = set()
        stored[split] = []
        for sample in splits[split]:
            name = flatten_name(sample, next_id, taken)
            stored[split].append(StoredImage(image_id=next_id, file_name=name, sample=sample))
            next_id += 1
    return stored


def flatten_name(sample: Sample, image_id: int, taken: set[str]) -> str:
    """A plain file name from the source's: sub-folders become `__`, the suffix says the format, `taken` grows by it."""
    pure = PurePosixPath(sample.source_file.replace("\\", "/"))
    stem = re.sub(r"[^\w.-]", "_", "__".join((*pure.parts[:-1], pure.stem)))[-100:]
    is_known = pure.suffix.lower() in (".jpg", ".jpeg", ".png")
    suffix = pure.suffix if is_known and not _is_repaired(sample) else SUFFIXES[sample.format]
    while (stem + suffix).casefold() in taken:  # some file systems do not tell a.jpg from A.JPG
        stem += f"_{image_id}"
    taken.add((stem + suffix).casefold())
    return stem + suffix


def _is_repaired(sample: Sample) -> bool:
    return sample.path.suffix != PurePosixPath(sample.source_file).suffix


def check_objects_left(stored: dict[Split, list[StoredImage]]) -> None:
    """Raises DataError when train or val shows no object at all, or none but ignored ones."""
    for split in ("train", "val"):
        if any(image.sample.counted for image in stored[split]):
            continue
        ignored = [found for image in stored[split] for found in image.sample.objects]
        why = f" but {len(ignored)} that are ignored (crowds, and prepare.difficult)" if ignored else ""
        raise DataError(
            f"no annotated object is left in {split} ({len(stored[split])} images){why}: nothing to learn from"
        )


def write_images(
    images: Sequence[StoredImage], folder: Path, labels: dict[int, str], num_shards: int, workers: Workers
) -> None:
    """Copies the images of one split and writes its TFRecord shards."""
    (folder / "images").mkdir(parents=True)
    if not images:
        return
    tasks = [StoreTask(image=image, path=folder / "images" / image.file_name) for image in images]
    with open_shards(folder, folder.name, min(num_shards, len(images)), labels) as write:
        for task, masks in zip(tasks, workers.map(store_image, tasks, label=f"writing {folder.name}"), strict=True):
            write(Record(image_id=task.image.image_id, path=task.path, sample=task.image.sample, masks_png=masks))


def store_image(task: StoreTask) -> tuple[bytes, ...]:
    """Copies one image's trusted bytes to their path; gives its masks as PNG, object by object. Runs in a worker."""
    shutil.copyfile(task.image.sample.path, task.path)
    return tuple(mask_to_png(decode_mask(found.mask)) for found in task.image.sample.objects if found.mask)


def list_calibration(train: Sequence[StoredImage], root: Path, *, num_images: int, seed: int) -> CalibrationList:
    """The fixed list, with the hash of each file."""
    shown = {image.image_id: [found.category_id for found in image.sample.objects] for image in train}
    files = {image.image_id: f"train/images/{image.file_name}" for image in train}
    chosen = [files[image_id] for image_id in choose_calibration(shown, num_images=num_images, seed=seed)]
    images = tuple(CalibrationImage(file=file, sha256=hash_file(root / file)) for file in chosen)
    return CalibrationList(seed=seed, split="train", images=images)


def summarise(images: Sequence[StoredImage], source: Source, folder: Path) -> SplitSummary:
    """Counts of one split, and a hash over the names and bytes of all its files."""
    objects = [found.category_id for image in images for found in image.sample.counted]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return SplitSummary(
        num_images=len(images),
        num_objects=len(objects),
        num_ignored=sum(len(image.sample.objects) for image in images) - len(objects),
        objects_per_class={name: objects.count(key) for key, name in source.labels.items()},
        sha256=hash_value({path.relative_to(folder).as_posix(): hash_file(path) for path in files}),
    )
