"""Images that look alike are found across splits, whatever was done to their pixels; others are not."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_builder import coco_tree, prepare_params
from PIL import Image, ImageEnhance

from stages.core.base.jsonfile import write_json
from stages.core.datasets.near_duplicates import difference_hash, find_near_duplicates
from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.samples import Sample

BITS = 5


def scene(seed: int) -> Image.Image:
    """A few large areas of different brightness."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(cells).resize((160, 160), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file)


def distance(one: Image.Image, two: Image.Image) -> int:
    return (difference_hash(np.asarray(one)) ^ difference_hash(np.asarray(two))).bit_count()


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], bool]] = {
    "none": (lambda image: image, True),
    "half the size": (lambda image: image.resize((80, 80)), True),
    "stored as JPEG": (as_jpeg, True),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), True),
    "cropped by a hundredth": (lambda image: image.crop((1, 1, 159, 159)), True),
    "mirrored": (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), False),
    "another scene": (lambda _: scene(99), False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_counts_as_alike(change: str) -> None:
    make, is_alike = CHANGES[change]
    distances = [distance(scene(seed), make(scene(seed))) for seed in range(10)]
    assert all((bits <= BITS) == is_alike for bits in distances), distances


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (8, 9), (200, 3)])
def test_any_size_has_a_hash_of_64_bits(size: tuple[int, int]) -> None:
    assert difference_hash(np.zeros((*size, 3), np.uint8)) == 0
    falling = np.broadcast_to(np.arange(size[1], 0, -1, dtype=np.uint8)[None, :, None], (*size, 3))
    rising = falling[:, ::-1]
    assert difference_hash(falling) == 0
    assert (difference_hash(rising) == 2**64 - 1) == (size[1] >= 9)


def test_pairs_and_counts() -> None:
    def sample(name: str, bits: int | None) -> Sample:
        made = Sample(source_file=name, path=Path(name), format="png", height=8, width=8, pixels_sha256=name)
        return replace(made, difference_hash=bits)

    train = [sample("a", 0b1111), sample("b", 0), sample("unhashed", None)]
    val = [sample("c", 0b0111), sample("d", 0b0011_0000), sample("e", 2**64 - 1)]
    (found,) = find_near_duplicates({"train": train, "val": val, "test": []}, 2)
    assert (found.splits, found.num_images, found.first) == (("train", "val"), 2, ("a", "c", 1))
    assert "2 images of val look like one of train" in found.describe()
    assert find_near_duplicates({"train": train, "val": val, "test": []}, 0) == []


@pytest.mark.slow
def test_prepare_notes_them_where_asked(tmp_path: Path) -> None:
    tree = coco_tree(20)
    (tmp_path / "images").mkdir()
    for index in range(20):
        # The last five are earlier ones in another quality.
        scene(index % 15).resize((96, 64)).save(tmp_path / "images" / f"{index}.jpg", quality=90 if index < 15 else 40)
    for name, images in (("train", range(15)), ("val", range(15, 20))):
        part = {key: [entry for entry in tree[key] if entry["id"] in images] for key in ("images", "annotations")}
        write_json(tree | part, tmp_path / f"{name}.json")
    lists = {"annotations": {"train": "train.json", "val": "val.json"}}

    def counted(bits: int | None) -> dict[str, int]:
        params = prepare_params("coco", **lists, near_duplicate_bits=bits)
        report = prepare_data(params, folder=tmp_path, out_dir=tmp_path / "out")
        assert any("look like one of train" in note for note in report.notes) == bool(report.near_duplicates)
        assert report.leaks == {}
        return report.near_duplicates

    assert counted(BITS) == {"train and val": 5}
    assert counted(None) == {}
