"""A model file that is missing, damaged or another one is told from the right one before it is run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.hashing import hash_file, hash_files
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import MODEL_FILES, Layout
from stages.core.results.conversion import Conversion
from stages.core.results.kinds import Backend
from stages.core.running.artifact import DamagedFileError, read_artifact
from tests.builders import write_cell
from tests.tflite_builder import build_detector
from tests.tiny_project import write_conversion

MODEL, SCHEME = "retinanet_mobiledet_tiny", "int8"


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
        (make_pointer, ["Git LFS pointer", "expected", "git lfs pull"]),
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


@pytest.fixture
def ir(layout: Layout) -> tuple[Path, Conversion]:
    """A cell of two files."""
    scheme = "openvino_float32"
    write_cell(layout, "retinanet_mobiledet_edgetpu", scheme)
    folder = layout.converted("retinanet_mobiledet_edgetpu", scheme)
    files = [folder / name for name in MODEL_FILES[Backend.OPENVINO]]
    size = sum(path.stat().st_size for path in files)
    return folder, replace(read_json(Conversion, folder / "result.json"), size_bytes=size)


def test_an_ir_is_both_of_its_files(ir: tuple[Path, Conversion]) -> None:
    folder, conversion = ir
    artifact = read_artifact(folder, conversion)
    assert [path.name for path in artifact.files] == ["model.xml", "model.bin"]
    assert (artifact.path, artifact.backend) == (folder / "model.xml", Backend.OPENVINO)
    assert artifact.size_bytes == conversion.size_bytes == sum(path.stat().st_size for path in artifact.files)
    assert artifact.sha256 == hash_files(artifact.files) != hash_file(artifact.path)


def swap_for_another(path: Path) -> None:
    """The weights of another model: as many bytes."""
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize("file", ["model.xml", "model.bin"])
@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (Path.unlink, DamagedFileError, ["no such file", "run `convert` again"]),
        (lambda path: path.write_bytes(b""), DamagedFileError, ["empty file", "expected"]),
        (make_pointer, DamagedFileError, ["Git LFS pointer", "expected"]),
        (truncate, DamagedFileError, ["truncated", "bytes, expected"]),
        (swap_for_another, ArtifactError, ["not the file that was converted", "sha256", "expected"]),
    ],
    ids=["missing", "empty", "lfs_pointer", "truncated", "swapped"],
)
def test_damage_to_either_file_of_an_ir_is_told(
    file: str, damage: Callable[[Path], None], error: type[Exception], words: list[str], ir: tuple[Path, Conversion]
) -> None:
    folder, conversion = ir
    damage(folder / file)
    with pytest.raises(ArtifactError) as caught:
        read_artifact(folder, conversion)
    assert type(caught.value) is error
    assert str(folder / file) in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_two_files_are_not_interchangeable(ir: tuple[Path, Conversion]) -> None:
    """One hash stands for both: their names count too."""
    folder, conversion = ir
    xml, weights = (folder / name for name in MODEL_FILES[Backend.OPENVINO])
    content = xml.read_bytes()
    xml.write_bytes(weights.read_bytes())
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256"):
        read_artifact(folder, conversion)
