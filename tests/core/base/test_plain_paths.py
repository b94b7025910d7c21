from pathlib import Path

import pytest

from stages.core.base.plain_paths import PLAIN, plain_path
from tests.builders import AWKWARD


@pytest.mark.parametrize(
    "name", ["br[1]", "ques?tion", "100%", "hash#", "com,ma", "ümläut", "back\\slash", "star*", "dol$lar", AWKWARD]
)
def test_an_awkward_folder_is_reached_under_a_plain_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    with plain_path(folder) as plain:
        assert PLAIN.fullmatch(str(plain))
        folder.mkdir()
        (plain / "file").write_text("here")
    assert (folder / "file").read_text() == "here"
    assert not plain.exists()


@pytest.mark.parametrize("name", ["plain", "a b", "x-1.2_c+d=e~f@g"])
def test_a_plain_folder_stays_as_it_is(name: str, tmp_path: Path) -> None:
    with plain_path(tmp_path / name) as plain:
        assert plain == tmp_path / name
