"""Reading prepared splits."""

import re
from pathlib import Path

import pytest

from stages.core.base.errors import DataError
from stages.core.datasets.prepared import read_evaluation_split
from tests.builders import write_split


def test_a_split_with_images_can_be_judged_on(tmp_path: Path) -> None:
    write_split(tmp_path / "val", num_images=2)
    assert [image.image_id for image in read_evaluation_split(tmp_path / "val").images] == [1, 2]


def test_a_split_without_images_cannot(tmp_path: Path) -> None:
    write_split(tmp_path / "test", num_images=0)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'test'}: no images")) as error:
        read_evaluation_split(tmp_path / "test")
    assert "validate.split: val" in str(error.value)
    assert "prepare.split.test" in str(error.value)
    assert "\n" not in str(error.value)
