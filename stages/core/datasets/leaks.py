"""Images that a source puts into several splits: what a model is judged on, it must not have seen.

Images are compared by their decoded pixels, so that another name, folder, container or list hides nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from stages.core.base.errors import DataError
from stages.core.datasets.samples import SPLITS, Sample, Split


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Images that two splits share.

    Attributes:
      splits: The two, in the order of `SPLITS`; the copies stay in the second.
      num_images: Different images by content.
      first: Names of one of them in either split.
    """

    splits: tuple[Split, Split]
    num_images: int
    first: tuple[str, str]

    @property
    def name(self) -> str:
        return " and ".join(self.splits)

    def describe(self) -> str:
        """What is shared, with an example."""
        here, there = self.first
        example = repr(here) if here == there else f"{here!r} and {there!r}"
        return f"{self.name} share {self.num_images} images by content (first: {example})"


def find_leaks(samples: Sequence[Sample]) -> list[Leak]:
    """The leaks between each two of the splits that a source assigns."""
    names: dict[Split, dict[str, str]] = defaultdict(dict)
    for sample in samples:
        if sample.split is not None:
            names[sample.split].setdefault(sample.pixels_sha256, sample.source_file)
    leaks = []
    for one, two in combinations(SPLITS, 2):
        shared = [content for content in names[one] if content in names[two]]
        if shared:
            first = (names[one][shared[0]], names[two][shared[0]])
            leaks.append(Leak(splits=(one, two), num_images=len(shared), first=first))
    return leaks


def judge_leaks(leaks: Sequence[Leak], where: str, *, num_images: int, max_rejected_fraction: float) -> list[str]:
    """Sentences on the leaks of a source.

    Args:
      num_images: That the source has.
      max_rejected_fraction: As `prepare.max_rejected_fraction`.

    Raises:
      DataError: where the shared images are a larger share of all: the lists are wrong, not some of the images.
    """
    shared = sum(leak.num_images for leak in leaks)
    if shared > max_rejected_fraction * num_images:
        raise DataError(
            f"{where}: {'; '.join(leak.describe() for leak in leaks)}: a model must not be judged on what it has seen; "
            f"give splits without common images (prepare.max_rejected_fraction allows {max_rejected_fraction:.1%} of "
            f"{num_images})"
        )
    return [f"{leak.describe()}: they stay in {leak.splits[1]} alone" for leak in leaks]
