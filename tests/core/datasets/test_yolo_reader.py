"""YOLO data sets: layouts and splits of `data.yaml`, boxes and polygons, and one clear line for what cannot be read."""

from pathlib import Path

import pytest
from dataset_builder import encode, picture

from stages.core.base.errors import DataError
from stages.core.datasets.samples import Source, SourceImage
from stages.core.datasets.yolo import read_yolo

BOX = "0 0.5 0.5 0.2 0.4\n"
YAML = "names: [nut, fig]\nnc: 2\n"


def write_yolo(folder: Path, files: dict[str, str]) -> Path:
    """Text files, and a picture for each name that ends in .jpg."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(picture()) if name.endswith(".jpg") else text.encode())
    return folder


def read(folder: Path, annotations: str | None = None) -> tuple[Source, list[SourceImage]]:
    source = read_yolo(folder, annotations=annotations)
    return source, list(source.images)


LAYOUTS = {
    "kinds_then_splits": (
        {"images/train/a.jpg": "", "images/val/b.jpg": "", "labels/train/a.txt": BOX, "labels/val/b.txt": BOX},
        "train: images/train\nval: images/val\n",
    ),
    "splits_then_kinds": (
        {"train/images/a.jpg": "", "valid/images/b.jpg": "", "train/labels/a.txt": BOX, "valid/labels/b.txt": BOX},
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",
    ),
    "another_machine": (
        {"images/train/a.jpg": "", "images/val/b.jpg": "", "labels/train/a.txt": BOX, "labels/val/b.txt": BOX},
        "path: /home/me/set\ntrain: /home/me/set/images/train\nval: C:\\set\\images\\val\n",
    ),
    "lists": (
        {
            "images/a.jpg": "",
            "images/b.jpg": "",
            "labels/a.txt": BOX,
            "labels/b.txt": BOX,
            "train.txt": "./images/a.jpg\n",
            "val.txt": "/content/set/images/b.jpg\n",
        },
        "train: train.txt\nval: val.txt\n",
    ),
    "several_folders": (
        {"x/a.jpg": "", "y/b.jpg": "", "x/a.txt": BOX, "y/b.txt": BOX},
        "train: [x]\nvalid: [y]\n",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, tmp_path: Path) -> None:
    files, splits = LAYOUTS[layout]
    source, images = read(write_yolo(tmp_path, {**files, "data.yaml": YAML + splits}))
    assert source.labels == {1: "nut", 2: "fig"}
    assert [(Path(image.file).name, image.split, len(image.objects)) for image in images] == [
        ("a.jpg", "train", 1),
        ("b.jpg", "val", 1),
    ]


@pytest.mark.parametrize(
    "names", ["names:\n  0: nut\n  1: fig\n", "names: {1: fig, 0: nut}\n", "names: ['nut', ' fig ']\n"]
)
def test_names(names: str, tmp_path: Path) -> None:
    files = {"images/a.jpg": "", "labels/a.txt": BOX, "data.yaml": names}
    assert read(write_yolo(tmp_path, files))[0].labels == {1: "nut", 2: "fig"}


def test_names_of_darknet(tmp_path: Path) -> None:
    files = {"a.jpg": "", "a.txt": BOX, "classes.txt": "nut\nfig\n\n"}
    source, images = read(write_yolo(tmp_path, files))
    assert source.labels == {1: "nut", 2: "fig"}
    assert images[0].split is None


def test_boxes_polygons_and_images_without_objects(tmp_path: Path) -> None:
    text = f"{BOX}\n1 0 0 0.5 0 0.5 0.5\n"
    files = {"images/a.jpg": "", "images/b.jpg": "", "images/c.jpg": "", "labels/a.txt": text, "labels/b.txt": ""}
    source, images = read(write_yolo(tmp_path, {**files, "data.yaml": YAML}))
    box, polygon = images[0].objects
    assert images[0].unit == "fractions"
    assert box.box_xyxy == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert (polygon.category_id, polygon.box_xyxy, polygon.segmentation) == (
        2,
        (0, 0, 0.5, 0.5),
        [[0, 0, 0.5, 0, 0.5, 0.5]],
    )
    assert source.has_masks
    assert [len(image.objects) for image in images] == [2, 0, 0]
    assert source.notes == ("1 of 3 images have no text file: they have no objects",)


@pytest.mark.parametrize(
    ("text", "yaml", "says"),
    [
        pytest.param(
            "2 0.5 0.5 0.1 0.1\n", YAML, "a.txt: line 1: class 2: expected 0 to 1, as data.yaml has 2", id="class"
        ),
        pytest.param("-1 0.5 0.5 0.1 0.1\n", YAML, "class -1: expected 0 to 1", id="negative"),
        pytest.param("0.5 0.5 0.5 0.1 0.1\n", YAML, "class 0.5: expected", id="no_class"),
        pytest.param("nut 0.5 0.5 0.1 0.1\n", YAML, "line 1: value 1 is 'nut': text, expected a number", id="word"),
        pytest.param(f"{BOX}0 0.5 0.5 0.1 0.1 0.9\n", YAML, "line 2: 6 values, expected 5", id="score"),
        pytest.param("0 0.5 0.5 0.1\n", YAML, "line 1: 4 values", id="short"),
        pytest.param("0 48 32 20 20\n", YAML, "1 of 1 boxes reach beyond 2: YOLO's are fractions", id="pixels"),
        pytest.param("\n", YAML, "no objects in the text files of 1 images", id="nothing"),
        pytest.param(BOX, "names: [nut, nut]\n", "data.yaml: name 'nut' is there twice", id="name_twice"),
        pytest.param(BOX, "names: [nut]\nnc: 2\n", "data.yaml: nc is 2, but there are 1 names", id="count"),
        pytest.param(BOX, "names: {1: nut, 2: fig}\n", "expected the numbers 0 to 1", id="numbers"),
        pytest.param(BOX, "names: [[nut]]\n", "names[0] is ['nut']: list, expected a text", id="kind"),
        pytest.param(BOX, "names: []\n", "no list `names`", id="no_names"),
        pytest.param(BOX, "names: [nut\n", "data.yaml: not readable as YAML", id="yaml"),
        pytest.param(BOX, f"{YAML}train: no/such\n", "train: no images at 'no/such'", id="no_folder"),
        pytest.param(BOX, f"{YAML}train: 7\n", "train is 7, expected a folder", id="no_path"),
    ],
)
def test_says_what_is_wrong(text: str, yaml: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(write_yolo(tmp_path, {"images/a.jpg": "", "labels/a.txt": text, "data.yaml": yaml}))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_that_names_no_image(tmp_path: Path) -> None:
    files = {
        "images/a.jpg": "",
        "labels/a.txt": BOX,
        "data.yaml": f"{YAML}train: t.txt\n",
        "t.txt": "images/gone.jpg\n",
    }
    with pytest.raises(DataError, match=r"t\.txt: line 1: no such image: 'images/gone\.jpg'"):
        read(write_yolo(tmp_path, files))


def test_which_file_is_meant(tmp_path: Path) -> None:
    files = {
        "images/a.jpg": "",
        "labels/a.txt": BOX,
        "data.yaml": YAML,
        "b.yaml": "names: [x, y]\n",
        "other.yaml": "a: 1\n",
    }
    write_yolo(tmp_path, files)
    with pytest.raises(DataError, match=r"several YAML files \(b\.yaml, data\.yaml\)"):
        read(tmp_path)
    assert read(tmp_path, "b.yaml")[0].labels == {1: "x", 2: "y"}
