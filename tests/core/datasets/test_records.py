"""Records hold what Model Garden's own decoder expects; a sample comes back from them as it went in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_builder import coco_annotation, coco_tree, encode, picture, polygon, prepare_params, write_coco, write_voc

from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.prepared import load_image, read_split
from stages.core.masks.segmentations import segmentation_to_mask

pytestmark = pytest.mark.slow

CROWD = {"size": [64, 96], "counts": [64 * 40, 64 * 20, 64 * 36]}


def decode_records(pattern: str, *, include_mask: bool) -> dict[int, dict[str, np.ndarray]]:
    """Every record through Model Garden's decoder, by image id."""
    import tensorflow as tf
    from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder

    decoder = TfExampleDecoder(include_mask=include_mask)
    found: dict[int, dict[str, np.ndarray]] = {}
    for path in sorted(tf.io.gfile.glob(pattern)):
        for data in tf.data.TFRecordDataset(path):
            tensors = {key: value.numpy() for key, value in decoder.decode(data).items()}
            found[int(tensors["source_id"])] = tensors
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO set in which image 0 holds a polygon and a crowd, image 1 nothing, and one file is greyscale."""
    folder = tmp_path_factory.mktemp("coco")
    annotations = [
        coco_annotation(id=10),
        coco_annotation(id=11, category_id=1, bbox=[40, 0, 20, 64], segmentation=CROWD, iscrowd=1, area=1280.0),
        *(coco_annotation(id=index, image_id=index, category_id=index % 2) for index in range(2, 8)),
    ]
    grey = encode(picture(7)[..., 0])
    write_coco(folder, coco_tree(8, annotations=annotations), {"7.jpg": grey})
    params = prepare_params(images="images", max_rejected_fraction=0.0)
    prepare_data(params, folder=folder, out_dir=folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="module")
def decoded(prepared: Path) -> dict[int, dict[str, np.ndarray]]:
    return {
        key: value
        for split in ("train", "val")
        for key, value in decode_records(read_split(prepared / split).records, include_mask=True).items()
    }


def images_and_annotations(prepared: Path) -> list[tuple[Path, dict[str, Any], list[dict[str, Any]]]]:
    import json

    found = []
    for split in ("train", "val"):
        tree = json.loads((prepared / split / "annotations.json").read_text())
        for image in tree["images"]:
            own = [annotation for annotation in tree["annotations"] if annotation["image_id"] == image["id"]]
            found.append((prepared / split / "images" / image["file_name"], image, own))
    return found


def test_every_image_is_in_one_record(prepared: Path, decoded: dict[int, dict[str, np.ndarray]]) -> None:
    assert sorted(decoded) == list(range(1, 9))
    assert sorted(image["id"] for _, image, _ in images_and_annotations(prepared)) == list(range(1, 9))


def test_records_and_coco_json_say_the_same(prepared: Path, decoded: dict[int, dict[str, np.ndarray]]) -> None:
    for path, image, annotations in images_and_annotations(prepared):
        record = decoded[image["id"]]
        height, width = image["height"], image["width"]
        assert (record["height"], record["width"]) == (height, width) == load_image(path).shape[:2]
        # TensorFlow's JPEG decoder rounds a little differently from Pillow's.
        assert np.abs(record["image"].astype(int) - load_image(path)).mean() < 2
        boxes = record["groundtruth_boxes"] * [height, width, height, width]
        expected = [[y, x, y + h, x + w] for x, y, w, h in (entry["bbox"] for entry in annotations)]
        assert np.allclose(boxes, np.reshape(expected, (-1, 4)), atol=1e-3)
        assert record["groundtruth_classes"].tolist() == [entry["category_id"] for entry in annotations]
        assert record["groundtruth_is_crowd"].tolist() == [bool(entry["iscrowd"]) for entry in annotations]
        assert np.allclose(record["groundtruth_area"], [entry["area"] for entry in annotations])
        masks = [segmentation_to_mask(entry["segmentation"], height, width) for entry in annotations]
        assert np.array_equal(record["groundtruth_instance_masks"], np.reshape(masks, (-1, height, width)))


def test_polygon_and_crowd_arrive(prepared: Path, decoded: dict[int, dict[str, np.ndarray]]) -> None:
    image_id = next(image["id"] for _, image, _ in images_and_annotations(prepared) if image["source_file"] == "0.jpg")
    masks = decoded[image_id]["groundtruth_instance_masks"]
    assert np.array_equal(masks[0], segmentation_to_mask(polygon(), 64, 96))
    assert masks[1].sum() == 64 * 20
    assert masks[1][:, 40:60].all()


def test_image_without_objects_is_kept(prepared: Path, decoded: dict[int, dict[str, np.ndarray]]) -> None:
    image_id = next(image["id"] for _, image, _ in images_and_annotations(prepared) if image["source_file"] == "1.jpg")
    assert decoded[image_id]["groundtruth_boxes"].shape == (0, 4)
    assert decoded[image_id]["groundtruth_instance_masks"].shape == (0, 64, 96)


def test_standard_keys(prepared: Path) -> None:
    import tensorflow as tf

    path = next((prepared / "train").glob("*.tfrecord"))
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(str(path)))).numpy())
    assert set(example.features.feature) == {
        "image/encoded",
        "image/filename",
        "image/format",
        "image/height",
        "image/key/sha256",
        "image/source_id",
        "image/width",
        *(f"image/object/bbox/{side}" for side in ("xmin", "xmax", "ymin", "ymax")),
        *(f"image/object/{name}" for name in ("area", "class/label", "class/text", "is_crowd", "mask")),
        *(f"image/object/{name}" for name in ("difficult", "truncated")),
    }


def test_voc_records_are_read_without_masks(tmp_path: Path) -> None:
    prepare_data(prepare_params("voc"), folder=write_voc(tmp_path / "voc"), out_dir=tmp_path / "prepared")
    records = decode_records(read_split(tmp_path / "prepared" / "train").records, include_mask=False)
    assert len(records) == 5
    assert all(len(record["groundtruth_boxes"]) == 1 for record in records.values())
