"""A model's outputs on some images as one file: the float model's reference, and those of a converted file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.folders import replaced_file


@dataclass(frozen=True, eq=False)
class StoredOutputs:
    """Outputs of one model, by image.

    Attributes:
      split: Which prepared split.
      image_ids: int64 [N], ascending.
      outputs: Output name to array [N, ...]: what the graph gives for each image, batch dimension dropped.
      raw_image_ids: int64 [K], ascending: the images whose raw outputs were kept.
      raw_outputs: Raw output name to float32 array [K, ...]; empty where the graph has none.
      swapped_image_ids: int64 [M], ascending: of a brought model, the images that were also run with red and blue
        changed over; swapped_outputs: what it gives for them.
    """

    split: str
    image_ids: np.ndarray
    outputs: dict[str, np.ndarray]
    raw_image_ids: np.ndarray
    raw_outputs: dict[str, np.ndarray]
    swapped_image_ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    swapped_outputs: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def swapped(self) -> "StoredOutputs":
        """Those of the images with red and blue changed over."""
        none = np.empty(0, np.int64)
        return StoredOutputs(self.split, self.swapped_image_ids, self.swapped_outputs, none, {})

    def outputs_of(self, image_id: int) -> dict[str, np.ndarray]:
        """Outputs of one image, by name."""
        index = int(np.searchsorted(self.image_ids, image_id))
        if index == len(self.image_ids) or self.image_ids[index] != image_id:
            raise ArtifactError(f"no stored outputs for image {image_id}; run `reference` again")
        return {name: array[index] for name, array in self.outputs.items()}


def to_stored(name: str, array: np.ndarray) -> np.ndarray:
    """An output as the file holds it: masks as float16, which is finer than any threshold on them needs."""
    return array.astype(np.float16) if name == "detection_masks" else array


def save_outputs(stored: StoredOutputs, path: Path) -> None:
    """Writes the arrays, compressed; masks are stored as float16."""
    arrays: dict[str, np.ndarray] = {
        "split": np.asarray(stored.split),
        "image_ids": stored.image_ids,
        "raw_image_ids": stored.raw_image_ids,
        "swapped_image_ids": stored.swapped_image_ids,
    }
    for name, array in stored.outputs.items():
        arrays[f"output.{name}"] = to_stored(name, array)
    arrays |= {f"raw.{name}": array for name, array in stored.raw_outputs.items()}
    arrays |= {f"swapped.{name}": to_stored(name, array) for name, array in stored.swapped_outputs.items()}
    with replaced_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_outputs(path: Path) -> StoredOutputs:
    """Reads what `save_outputs` wrote.

    Raises:
      MissingResultError: if there is no such file.
      ArtifactError: if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return StoredOutputs(
            split=str(arrays["split"]),
            image_ids=arrays["image_ids"],
            outputs=_below("output.", arrays),
            raw_image_ids=arrays["raw_image_ids"],
            raw_outputs=_below("raw.", arrays),
            swapped_image_ids=arrays["swapped_image_ids"],
            swapped_outputs=_below("swapped.", arrays),
        )
    except FileNotFoundError:
        raise MissingResultError(f"{path}: no such file; run `reference` first") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: not a readable file of outputs ({error}); run `reference` again") from None


def _below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
