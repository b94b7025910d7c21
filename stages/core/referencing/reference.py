"""The float model's outputs on every image of the evaluation split, computed by TensorFlow from its SavedModel."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.layout import INTERFACE_FILE, SAVED_MODEL
from stages.core.base.native_output import silence_native
from stages.core.base.plain_paths import plain_path
from stages.core.datasets.prepared import PreparedSplit, check_labels, load_image
from stages.core.datasets.subset import choose_subset
from stages.core.processing.decode import drop_unused_rows, settle_masks
from stages.core.processing.preprocess import preprocess_image
from stages.core.processing.stored_outputs import StoredOutputs, to_stored
from stages.core.referencing.finished import FloatModel, Outputs, load_finished
from stages.core.results.brought import read_brought_facts
from stages.core.results.interface import RAW_SIGNATURE, Interface, read_interface
from stages.core.results.kinds import Backend

SWAPPED_IMAGES = 100
"""How many images of the fixed draw a brought model is also given with red and blue changed over."""
RAW_IMAGES = 16
"""How many images of the fixed draw keep their raw outputs: enough to measure parity on, few enough to store."""


def compute_reference(exported: Path, split: PreparedSplit) -> StoredOutputs:
    """The outputs of an exported model.

    Args:
      exported: Folder of the SavedModel and its interface.json.
      split: Images to run.

    Raises:
      MissingResultError, ArtifactError: if the exported folder is missing or damaged.
      DataError: if the model was trained on other labels.
    """
    interface = read_interface(exported)
    facts = read_brought_facts(exported)
    if facts is not None and facts.finished:
        run = load_finished(exported / facts.finished, Backend(facts.kind), interface)
    else:
        run = load_float_model(exported / SAVED_MODEL, interface)
    if facts is not None:
        return run_swapped(run, split, interface, run_split(run, split, interface))
    check_labels(interface.labels, split.labels, exported / INTERFACE_FILE)
    return run_split(run, split, interface)


def load_float_model(folder: Path, interface: Interface) -> FloatModel:
    """The signatures of a SavedModel as one function.

    Raises:
      MissingResultError: if there is no such folder.
      ArtifactError: if TensorFlow cannot read it.
    """
    if not folder.is_dir():
        raise MissingResultError(f"{folder}: no such folder; run `export` first")
    try:
        with silence_native(), plain_path(folder) as plain:
            model = tf.saved_model.load(str(plain))
            detect = model.signatures[interface.signature]
            raw_heads = model.signatures[RAW_SIGNATURE] if interface.raw_outputs else None
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        text = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{folder}: not a readable SavedModel ({text}); run `export` again") from None

    def run(image: np.ndarray) -> tuple[Outputs, Outputs]:
        pixels = {interface.input.name: tf.constant(image)}
        return _to_arrays(detect(**pixels)), {} if raw_heads is None else _to_arrays(raw_heads(**pixels))

    # The signatures hold the model's constants only as long as the model itself is held.
    run.model = model  # type: ignore[attr-defined]
    return run


def run_split(run: FloatModel, split: PreparedSplit, interface: Interface) -> StoredOutputs:
    """A float model's outputs on every image of a split.

    Masks are kept as float16, as they are stored: a split's worth of float32 ones would fill the memory.
    """
    outputs: dict[str, list[np.ndarray]] = {output.name: [] for output in interface.outputs}
    raw_outputs: dict[str, list[np.ndarray]] = {output.name: [] for output in interface.raw_outputs}
    bar = track(split.images, f"reference outputs on {split.name}", console=Console(stderr=True), transient=True)
    # The beginning of the draw that a slow file is evaluated on: its raw outputs can be compared too.
    raw_ids = sorted(choose_subset(split.by_id, RAW_IMAGES)) if raw_outputs else []
    for image in bar:
        tensor, _ = preprocess_image(load_image(image.path), interface.input)
        found, raw = run(tensor)
        found = drop_unused_rows(settle_masks(found, interface))
        for name, kept in outputs.items():
            kept.append(to_stored(name, found[name]))
        if image.image_id in raw_ids:
            for name, kept in raw_outputs.items():
                kept.append(raw[name][0])
    return StoredOutputs(
        split=split.name,
        image_ids=np.asarray([image.image_id for image in split.images], np.int64),
        outputs={name: np.stack(kept) for name, kept in outputs.items()},
        raw_image_ids=np.asarray(raw_ids, np.int64),
        raw_outputs={name: np.stack(kept) for name, kept in raw_outputs.items()},
    )


def run_swapped(run: FloatModel, split: PreparedSplit, interface: Interface, stored: StoredOutputs) -> StoredOutputs:
    """The same outputs and, on a fixed draw of images, those with red and blue changed over.

    Nothing in a brought file tells RGB from BGR: which of them it was trained with shows in AP alone.
    """
    chosen = sorted(choose_subset(split.by_id, SWAPPED_IMAGES))
    outputs: dict[str, list[np.ndarray]] = {output.name: [] for output in interface.outputs}
    for image_id in chosen:
        tensor, _ = preprocess_image(load_image(split.by_id[image_id].path)[..., ::-1], interface.input)
        found = drop_unused_rows(settle_masks(run(tensor)[0], interface))
        for name, kept in outputs.items():
            kept.append(to_stored(name, found[name]))
    return replace(
        stored,
        swapped_image_ids=np.asarray(chosen, np.int64),
        swapped_outputs={name: np.stack(kept) for name, kept in outputs.items()},
    )


def _to_arrays(tensors: Mapping[str, Any]) -> Outputs:
    return {name: value.numpy() for name, value in tensors.items()}
