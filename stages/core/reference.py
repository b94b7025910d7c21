"""`reference.npz`: the float model's outputs on the judged images, so that nothing after `export` needs TensorFlow."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.errors import ArtifactError, MissingResultError


@dataclass(frozen=True, eq=False)
class Reference:
    """Outputs of the float model under the same post-processing as the shipped files.

    Attributes:
      split: Which prepared split.
      image_ids: int64 [N], ascending.
      outputs: Output name to array [N, ...]: what the graph gives for each image, batch dimension dropped.
      raw_image_ids: int64 [K], ascending: the images whose raw outputs were kept.
      raw_outputs: Raw output name to float32 array [K, ...]; empty where the graph has none.
    """

    split: str
    image_ids: np.ndarray
    outputs: dict[str, np.ndarray]
    raw_image_ids: np.ndarray
    raw_outputs: dict[str, np.ndarray]

    def outputs_of(self, image_id: int) -> dict[str, np.ndarray]:
        """Outputs of one image, by name."""
        index = int(np.searchsorted(self.image_ids, image_id))
        if index == len(self.image_ids) or self.image_ids[index] != image_id:
            raise ArtifactError(f"reference.npz holds no outputs for image {image_id}; run `export` again")
        return {name: array[index] for name, array in self.outputs.items()}


def to_stored(name: str, array: np.ndarray) -> np.ndarray:
    """An output as the file holds it: masks as float16, which is finer than any threshold on them needs."""
    return array.astype(np.float16) if name == "detection_masks" else array


def save_reference(reference: Reference, path: Path) -> None:
    """Writes the arrays, compressed; masks are stored as float16."""
    arrays: dict[str, np.ndarray] = {
        "split": np.asarray(reference.split),
        "image_ids": reference.image_ids,
        "raw_image_ids": reference.raw_image_ids,
    }
    for name, array in reference.outputs.items():
        arrays[f"output.{name}"] = to_stored(name, array)
    arrays |= {f"raw.{name}": array for name, array in reference.raw_outputs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_reference(path: Path) -> Reference:
    """Reads what `save_reference` wrote.

    Raises:
      MissingResultError: if there is no such file.
      ArtifactError: if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return Reference(
            split=str(arrays["split"]),
            image_ids=arrays["image_ids"],
            outputs={name[7:]: array for name, array in arrays.items() if name.startswith("output.")},
            raw_image_ids=arrays["raw_image_ids"],
            raw_outputs={name[4:]: array for name, array in arrays.items() if name.startswith("raw.")},
        )
    except FileNotFoundError:
        raise MissingResultError(f"{path}: no such file; run `export` first") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: not a readable reference file ({error}); run `export` again") from None
