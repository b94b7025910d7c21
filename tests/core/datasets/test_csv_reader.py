"""CSV files of boxes: names and order of columns, separators, splits, and one clear line for what cannot be read."""

from pathlib import Path

import pytest
from dataset_builder import encode, picture

from stages.core.base.errors import DataError
from stages.core.datasets.csv_boxes import read_csv
from stages.core.datasets.samples import SourceImage

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"
LINES = ("b.jpg,96,64,nut,10,20,40,50", "a.jpg,96,64,fig,0,0,8,8", "b.jpg,96,64,fig,1,2,3,4")


def write_csv(folder: Path, *lines: str, header: str = HEADER, name: str = "boxes.csv") -> Path:
    (folder / name).write_text("\n".join([header, *lines]) + "\n")
    for stem in "ab":
        (folder / f"{stem}.jpg").write_bytes(encode(picture()))
    return folder


def images_of(folder: Path) -> list[SourceImage]:
    return list(read_csv(folder, annotations=None, images=None).images)


def test_lines_of_one_image_are_one_image(tmp_path: Path) -> None:
    source = read_csv(write_csv(tmp_path, *LINES), annotations=None, images=None)
    images = list(source.images)
    assert source.labels == {1: "fig", 2: "nut"}
    assert [(image.file, image.size, len(image.objects)) for image in images] == [
        ("b.jpg", (64, 96), 2),
        ("a.jpg", (64, 96), 1),
    ]
    assert images[0].objects[0].box_xyxy == (10, 20, 40, 50)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Image;Label;X1;Y1;X2;Y2\nb.jpg;nut;10;20;40;50\n", id="semicolons"),
        pytest.param("file\tx_min\ty_min\tx_max\ty_max\tname\nb.jpg\t10\t20\t40\t50\tnut\n", id="tabs"),
        pytest.param(
            '"path","left","top","right","bottom","category"\n"b.jpg","10","20","40","50","nut"\n', id="quotes"
        ),
        pytest.param("b.jpg,10,20,40,50,nut\n", id="without_header"),
        pytest.param("\ufefffilename,class,xmin,ymin,xmax,ymax,score\r\nb.jpg, nut ,10,20,40,50,1\r\n\r\n", id="excel"),
    ],
)
def test_kinds_of_files(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path)
    (tmp_path / "boxes.csv").write_text(text, encoding="utf-8")
    source = read_csv(tmp_path, annotations=None, images=None)
    (image,) = source.images
    assert source.labels == {1: "nut"}
    assert (image.file, image.objects[0].box_xyxy) == ("b.jpg", (10, 20, 40, 50))


@pytest.mark.parametrize("word", ["valid", "val", "Validation"])
def test_a_column_of_splits(word: str, tmp_path: Path) -> None:
    lines = [f"b.jpg,96,64,nut,10,20,40,50,{word}", "a.jpg,96,64,fig,0,0,8,8,"]
    assert [image.split for image in images_of(write_csv(tmp_path, *lines, header=f"{HEADER},split"))] == ["val", None]


def test_a_file_for_each_split(tmp_path: Path) -> None:
    write_csv(tmp_path, LINES[0], name="train.csv")
    write_csv(tmp_path, LINES[1], name="val.csv")
    source = read_csv(tmp_path, annotations={"train": "train.csv", "val": "val.csv"}, images=None)
    assert [(image.file, image.split) for image in source.images] == [("b.jpg", "train"), ("a.jpg", "val")]


def test_image_without_objects_and_box_that_is_left_to_checking(tmp_path: Path) -> None:
    images = images_of(write_csv(tmp_path, "a.jpg,96,64,,,,,", "b.jpg,,,nut,1,2,,4"))
    assert images[0].objects == ()
    assert (images[1].size, images[1].objects[0].box_xyxy) == (None, None)


@pytest.mark.parametrize(
    ("lines", "header", "says"),
    [
        pytest.param(
            ["a.jpg,1,2,3,4"], "filename,xmin,ymin,xmax,ymax", "no column for label (found: filename,", id="no_column"
        ),
        pytest.param(["a.jpg,96,64,nut,1,x,3,4"], HEADER, "line 2: y_min is 'x': text, expected a number", id="word"),
        pytest.param(["a.jpg,96,64,nut,1,2"], HEADER, "line 2: 6 values, expected 8", id="short_line"),
        pytest.param(["a.jpg,wide,64,nut,1,2,3,4"], HEADER, "line 2: width is 'wide'", id="size"),
        pytest.param([",96,64,nut,1,2,3,4"], HEADER, "line 2: no file name", id="no_name"),
        pytest.param(["a.jpg,96,64,,1,2,3,4", LINES[0]], HEADER, "line 2: a box without a class", id="no_class"),
        pytest.param(["a.jpg,96,64,nut,1,2,3,4,dev"], f"{HEADER},split", "line 2: unknown split 'dev'", id="split"),
        pytest.param(["a.jpg,96,64,,,,,"], HEADER, "no labelled boxes in 1 lines", id="no_boxes"),
        pytest.param(["gone.jpg,96,64,nut,1,2,3,4"], HEADER, "none of its images is below", id="no_images"),
        pytest.param(
            [*LINES[:2], "b.jpg,64,96,fig,1,2,3,4"], HEADER, "b.jpg: is listed with the sizes", id="two_sizes"
        ),
        pytest.param(['a.jpg,96,64,"nut,1,2,3,4'], HEADER, "not readable as CSV", id="open_quote"),
    ],
)
def test_says_what_is_wrong(lines: list[str], header: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        images_of(write_csv(tmp_path, *lines, header=header))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_which_file_is_meant(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no CSV file; it is empty"):
        images_of(tmp_path)
    write_csv(tmp_path, name="a.csv")
    write_csv(tmp_path, name="b.csv")
    with pytest.raises(DataError, match=r"several CSV files \(a\.csv, b\.csv\)"):
        images_of(tmp_path)
    with pytest.raises(DataError, match=r"gone\.csv: No such file"):
        read_csv(tmp_path, annotations="gone.csv", images=None)
