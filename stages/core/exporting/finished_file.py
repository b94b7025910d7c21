"""A brought .tflite file or OpenVINO IR to a deployment folder: the file itself, its tensors under our names."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.base.errors import ArtifactError
from stages.core.base.folders import replaced_folder
from stages.core.base.hashing import hash_files
from stages.core.exporting.class_map import ClassMap, match_labels
from stages.core.exporting.describing import describe_classes, padding_of
from stages.core.exporting.finished_readers import IMAGE, NAMES, READERS_OF_FINISHED, FileTensor, ReadFile
from stages.core.exporting.foreign_masks import check_brought_masks, mask_frame_of
from stages.core.exporting.source import BroughtSource
from stages.core.graphs.layers import find_layers
from stages.core.params.brought import MASKS
from stages.core.results.brought import BroughtFacts, write_brought_facts
from stages.core.results.interface import (
    ImageInput,
    InputDtype,
    Interface,
    PostProcessing,
    TensorOutput,
    write_interface,
)
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed

FINISHED = "the file is finished: it has no other weights"
OWN_REFERENCE = (
    "the file is its own reference: drops compare with the brought file, not with the model it was made from"
)
INTEGERS = ("uint8", "int8", "int16")


def export_finished_file(source: BroughtSource, variant: Variant, out_dir: Path) -> tuple[str, ...]:
    """Writes one variant's folder and returns what the user should know.

    The file is `trained`; one with uint8 weights is `qat` as well, because only training under rounding gives such.

    Raises:
      MissingResultError, ArtifactError: if the file is missing, damaged, or not what the entry says.
      DataError: if it has no class of the data.
    """
    read = READERS_OF_FINISHED[source.model.kind](source)
    layers = find_layers(read.graph)
    if not layers:
        raise ArtifactError(f"{source.path}: no convolution or fully-connected layer with stored weights: no detector")
    types = [Counter(t.dtype for t in tensors) for tensors in ([x.weights for x in layers], [x.data for x in layers])]
    if variant is Variant.QAT and set(types[0]) != {"uint8"}:
        write_not_needed(out_dir, source.name, variant, reason=FINISHED)
        return (f"not exported: {FINISHED}",)
    check_detections(read, source)
    classes = match_labels(
        source.model_labels,
        source.labels,
        num_classes=max(source.model_labels, default=0),
        where=f"brought.{source.name}",
    )
    interface = describe_finished(source, read, classes, variant)
    notes = (OWN_REFERENCE, *describe_classes(classes))
    with replaced_folder(out_dir) as partial:
        name = read.write(partial)
        write_interface(interface, partial)
        facts = BroughtFacts(
            kind=source.model.kind,
            sha256=hash_files(read.files),
            finished=name,
            numbers=", ".join(
                f"{' and '.join(found)} {what}" for what, found in zip(("weights", "activations"), types, strict=True)
            ),
            is_float=all(set(found) == {"float32"} for found in types),
            takes_pixels=interface.input.takes_pixels,
            notes=notes,
        )
        write_brought_facts(facts, partial)
    return notes


def check_detections(read: ReadFile, source: BroughtSource) -> None:
    """Raises ArtifactError unless shapes and types are those of one image and its detections."""
    boxes = read.outputs["boxes"].shape
    rows = boxes[1] if len(boxes) == 3 else 0
    expected = {"boxes": (1, rows, 4), "scores": (1, rows), "classes": (1, rows), "num_detections": (1,)}
    found = {key: tensor.shape for key, tensor in read.outputs.items()}
    if rows < 1 or {key: found[key] for key in expected} != expected:
        raise ArtifactError(
            f"{source.path}: outputs {found} are not detections: expected boxes [1, N, 4], scores [1, N], "
            "classes [1, N], num_detections [1]; one image, fixed shapes"
        )
    check_brought_masks(found, rows, source.model, source.path)
    height, width = source.model.input.size
    shapes = ((1, height, width, 3), (1, 3, height, width))
    if read.image.shape not in shapes:
        raise ArtifactError(
            f"{source.path}: the input takes {read.image.shape}, expected {shapes[0]} or {shapes[1]} (input.size): "
            "one image of a fixed size"
        )
    if read.image.dtype not in ("float32", "uint8", "int8"):
        raise ArtifactError(f"{source.path}: the input takes {read.image.dtype}, expected float32, uint8 or int8")
    plain = set(source.model.input.means) == {0.0} and set(source.model.input.deviations) == {1.0}
    if read.image.dtype != "float32" and read.image.scale is None and not plain:
        raise ArtifactError(
            f"{source.path}: the input takes {read.image.dtype} without a scale, which are pixels as they are: "
            "expected input.mean 0 and input.deviation 1"
        )


def describe_finished(source: BroughtSource, read: ReadFile, classes: ClassMap, variant: Variant) -> Interface:
    """The contract of a finished file, tensors under the names of ours."""
    spec = source.model.input
    statistics: dict[str, Any] = {"mean": spec.means, "deviation": spec.deviations}
    if read.image.dtype != "float32" and read.image.scale is not None:
        statistics |= {"scale": read.image.scale, "zero_point": read.image.zero_point}
        if stores_pixels(statistics):
            statistics = {}
    dtypes: dict[str, InputDtype] = {"float32": "float32", "uint8": "uint8", "int8": "int8"}
    masks = next((key for key in MASKS if key in read.outputs), "")
    return Interface(
        model=source.name,
        task="segmentation" if masks else "detection",
        variant=variant,
        input=ImageInput(
            name=IMAGE,
            shape=read.image.shape,  # type: ignore[arg-type]
            dtype=dtypes[read.image.dtype],
            color_order=spec.color_order,
            resize="fit_pad" if spec.resize == "letterbox" else "stretch",
            pad_value=padding_of(source.model),
            normalization="none that is known: what `mean` and `deviation` ask for is the caller's to do",
            layout="NHWC" if read.image.shape[3] == 3 else "NCHW",
            **statistics,
        ),
        outputs=tuple(
            TensorOutput(
                name=NAMES[key],
                shape=tensor.shape,
                dtype="float32" if _is_stored(tensor) else tensor.dtype,
                meaning=f"{source.model.outputs[key]} of the brought file",
                stored_dtype=tensor.dtype if _is_stored(tensor) else "",
            )
            for key, tensor in read.outputs.items()
        ),
        box_format=source.model.box_format,
        mask_frame=mask_frame_of(masks),
        class_offset=1 - source.model.first_class,
        class_map=(*(0,) * source.model.first_class, *classes.category_ids),
        labels={str(key): name for key, name in source.labels.items()},
        post_processing=PostProcessing(
            method="the brought file's own",
            max_detections=read.outputs["boxes"].shape[1],
            score_threshold=0.0,
            nms_iou_threshold=1.0,
        ),
        checkpoint_sha256=hash_files(read.files),
    )


def stores_pixels(statistics: Mapping[str, Any]) -> bool:
    """Whether integers stored for normalised pixels are the pixels themselves: scale and zero point undo mean and
    deviation."""
    pixels = np.arange(256, dtype=np.float64)
    pairs = zip(statistics["mean"], statistics["deviation"], strict=True)
    stored = [np.rint((pixels - m) / d / statistics["scale"]) + statistics["zero_point"] for m, d in pairs]
    return all(np.abs(np.clip(values, 0, 255) - pixels).max() <= 1 for values in stored)


def _is_stored(tensor: FileTensor) -> bool:
    return tensor.dtype in INTEGERS and tensor.scale is not None
