"""Names of images as tools write them: found where one file can be meant, refused with the reason where not."""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from stages.core.datasets.image_files import ImageFiles, resolve_names

THERE = ("images/x.png", "images/1/y.png", "images/2/y.png", "images/my pic.png", "images/ü.png", "other/Z.PNG")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A listed name, and the file it is found as, or the reason why it is not."""

    id: str
    name: str
    file: str | None = None
    reason: str = ""


NAMES = [
    Named(id="windows", name="images\\x.png", file="images/x.png"),
    Named(id="leads_out", name="..\\..\\media\\upload\\4\\x.png", file="images/x.png"),
    Named(id="dots", name="../../x.png", file="images/x.png"),
    Named(id="other_machine", name="/home/me/set/x.png", file="images/x.png"),
    Named(id="drive", name="C:\\Users\\me\\x.png", file="images/x.png"),
    Named(id="label_studio", name="/data/local-files/?d=images/x.png", file="images/x.png"),
    Named(id="label_studio_quoted", name="/data/local-files/?d=my%20set%2Fx.png", file="images/x.png"),
    Named(id="percent", name="my%20pic.png", file="images/my pic.png"),
    Named(id="address", name="https://host/bucket/x.png?sig=a%2Fb", file="images/x.png"),
    Named(id="s3", name="s3://bucket/x.png", file="images/x.png"),
    Named(id="longest_tail_decides", name="D:\\set\\2\\y.png", file="images/2/y.png"),
    Named(id="two_of_that_name", name="/set/y.png", reason="ambiguous_name"),
    Named(id="other_case", name="z.png", file="other/Z.PNG"),
    Named(id="decomposed", name="u\u0308.png", file="images/ü.png"),
    Named(id="nowhere", name="images/gone.png", reason="missing_file"),
    Named(id="nowhere_and_leads_out", name="../gone.png", reason="unsafe_name"),
    Named(id="brackets", name="http://[x.png", reason="unsafe_name"),
    Named(id="zero_byte", name="a\0.png", reason="unsafe_name"),
]


@pytest.mark.parametrize("case", NAMES, ids=attrgetter("id"))
def test_names(case: Named, tmp_path: Path) -> None:
    for name in THERE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = resolve_names([case.name], tmp_path / "labels", ImageFiles(tmp_path))[case.name]
    if case.file is None:
        assert found.refusal is not None
        assert found.refusal.reason == case.reason
    else:
        assert found.refusal is None
        assert (found.folder, found.file, found.listed_as) == (tmp_path, case.file, case.name)


def test_a_name_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a%20b.png").touch()
    (tmp_path / "a b.png").touch()
    found = resolve_names(["a%20b.png"], tmp_path, ImageFiles(tmp_path))["a%20b.png"]
    assert (found.file, found.listed_as) == ("a%20b.png", None)


def test_two_names_do_not_become_one_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    both = resolve_names(["a/x.png", "b/x.png"], tmp_path, ImageFiles(tmp_path))
    assert {found.refusal and found.refusal.reason for found in both.values()} == {"ambiguous_name"}
    own = resolve_names(["x.png", "b/x.png"], tmp_path, ImageFiles(tmp_path))
    assert own["x.png"].is_there
    assert not own["b/x.png"].is_there


def test_nothing_is_listed_where_every_name_fits(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    files = ImageFiles(tmp_path / "no such folder is read")
    assert resolve_names(["x.png"], tmp_path, files)["x.png"].is_there
    assert "paths" not in vars(files)
