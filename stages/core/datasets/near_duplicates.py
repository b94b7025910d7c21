"""Images of different splits that look alike: the next frame of a film, another crop or quality of one photograph.

Method: the difference hash of Neal Krawetz, "Kind of Like That" (hackerfactor.com, 2013): 64 bits, whether each pixel
of a grey 9 x 8 thumbnail is darker than the one to its right. Few bits differ between an image and itself after
scaling, recompression or a change of brightness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from stages.core.datasets.samples import SPLITS, Sample, Split

HASH_SHAPE = (8, 8)
ROWS_AT_ONCE = 1024
"""So many hashes are compared with all of the other split in one step: 80 MB for 10,000."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Images of the second split that look like one of the first.

    Attributes:
      splits: The two, in the order of `SPLITS`.
      num_images: So many images of the second split.
      first: Names of the most similar pair, and in how many bits its hashes differ.
    """

    splits: tuple[Split, Split]
    num_images: int
    first: tuple[str, str, int]

    def describe(self) -> str:
        """What looks alike, with an example."""
        (one, two), (here, there, bits) = self.splits, self.first
        return (
            f"{self.num_images} images of {two} look like one of {one} (prepare.near_duplicate_bits; most alike: "
            f"{there!r} and {here!r}, {bits} of 64 bits differ): {two} says less of new images than it seems to"
        )


def difference_hash(pixels: np.ndarray) -> int:
    """The 64-bit difference hash of an image, uint8 [height, width, 3], RGB."""
    rows, columns = HASH_SHAPE[0], HASH_SHAPE[1] + 1
    grey = pixels.astype(np.float32).mean(axis=2)
    # Means over cells; of an image with fewer pixels than cells, some cells are the same pixels.
    for axis, num in enumerate((rows, columns)):
        starts = np.arange(num) * grey.shape[axis] // num
        ends = np.maximum((np.arange(num) + 1) * grey.shape[axis] // num, starts + 1)
        sums = np.cumsum(np.insert(grey, 0, 0, axis=axis), axis=axis, dtype=np.float64)
        lengths = (ends - starts).reshape((-1, 1) if axis == 0 else (1, -1))
        grey = (sums.take(ends, axis) - sums.take(starts, axis)) / lengths
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes())


def find_near_duplicates(splits: Mapping[Split, Sequence[Sample]], max_bits: int) -> list[NearDuplicates]:
    """What looks alike between each two splits; samples without a hash are passed over.

    Args:
      max_bits: Hashes that differ in no more bits count as alike.
    """
    hashed = {split: [sample for sample in splits[split] if sample.difference_hash is not None] for split in SPLITS}
    found = []
    for one, two in combinations(SPLITS, 2):
        if not hashed[one] or not hashed[two]:
            continue
        nearest, distances = _nearest(hashed[one], hashed[two])
        if num_images := int((distances <= max_bits).sum()):
            best = int(distances.argmin())
            pair = (hashed[one][nearest[best]].source_file, hashed[two][best].source_file, int(distances[best]))
            found.append(NearDuplicates(splits=(one, two), num_images=num_images, first=pair))
    return found


def _nearest(known: Sequence[Sample], new: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """For each new sample the position of the known one that is most like it, and in how many bits they differ."""
    these, those = (np.asarray([sample.difference_hash for sample in samples], np.uint64) for samples in (known, new))
    positions, distances = [], []
    for start in range(0, len(those), ROWS_AT_ONCE):
        bits = np.bitwise_count(those[start : start + ROWS_AT_ONCE, None] ^ these[None])
        positions.append(bits.argmin(axis=1))
        distances.append(bits.min(axis=1))
    return np.concatenate(positions), np.concatenate(distances)
