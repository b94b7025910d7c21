"""A model file that is missing, damaged or another one is told from the right one before it is run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages.core.errors import ArtifactError, MissingResultError
from stages.core.layout import Layout
from stages.core.results import Conversion
from stages.core.running.artifact import read_artifact
from tests.tflite_builder import build_detector
from tests.tiny_project import write_conversion

MODEL, SCHEME = "mobiledet_tiny", "int8"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def conversion(layout: Layout) -> Conversion:
    return write_conversion(layout, MODEL, SCHEME, build_detector())


def test_the_right_file(layout: Layout, conversion: Conversion) -> None:
    artifact = read_artifact(layout.converted(MODEL, SCHEME), conversion)

    assert artifact.path.name == "model.tflite"
    assert artifact.sha256 == conversion.sha256
    assert artifact.interface.model == MODEL


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def make_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, ["no such file"]),
        (lambda path: path.write_bytes(b""), ["empty", "expected"]),
        (make_pointer, ["Git LFS pointer", "git lfs pull"]),
        (truncate, ["truncated: 100 bytes", "expected"]),
        (flip_a_byte, ["sha256", "expected"]),
    ],
    ids=["missing", "empty", "lfs_pointer", "truncated", "one_bit_off"],
)
def test_damage_names_file_found_and_expected(
    damage: Callable[[Path], None], words: list[str], layout: Layout, conversion: Conversion
) -> None:
    folder = layout.converted(MODEL, SCHEME)
    damage(folder / "model.tflite")

    with pytest.raises(ArtifactError) as caught:
        read_artifact(folder, conversion)

    assert str(folder / "model.tflite") in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_a_record_without_a_file_and_a_file_without_its_contract(layout: Layout, conversion: Conversion) -> None:
    folder = layout.converted(MODEL, SCHEME)
    with pytest.raises(ArtifactError, match="no artifact"):
        read_artifact(folder, replace(conversion, artifact=None))
    (folder / "interface.json").unlink()
    with pytest.raises(MissingResultError, match=r"interface\.json"):
        read_artifact(folder, conversion)
