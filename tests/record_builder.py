"""TFRecord files as the Object Detection API writes them, and as they come when something went wrong."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_builder import encode, picture

from stages.core.datasets.checksums import masked_crc32c

BOX = (0.1, 0.25, 0.5, 0.75)
"""[x_min, y_min, x_max, y_max] of the one object that a record has unless told otherwise."""


def record_features(number: int = 0, **changes: Any) -> dict[str, Any]:
    """The values of one record by key without `image/`; in `changes`, `__` is `/`, and None leaves a key out."""
    values: dict[str, Any] = {
        "encoded": encode(picture(number)),
        "format": b"jpeg",
        "filename": f"{number}.jpg".encode(),
        "source_id": str(number).encode(),
        "height": 64,
        "width": 96,
        "object/bbox/xmin": [BOX[0]],
        "object/bbox/ymin": [BOX[1]],
        "object/bbox/xmax": [BOX[2]],
        "object/bbox/ymax": [BOX[3]],
        "object/class/text": [(b"nut", b"fig")[number % 2]],
        "object/class/label": [1 + number % 2],
    }
    values |= {key.replace("__", "/"): value for key, value in changes.items()}
    return {key: value for key, value in values.items() if value is not None}


def to_example(values: dict[str, Any]) -> bytes:
    """A serialised tf.train.Example; the type of a feature is that of its first value."""
    import tensorflow as tf

    features = {}
    for key, value in values.items():
        found = value if isinstance(value, list) else [value]
        if found and isinstance(found[0], bytes):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=found))
        elif found and isinstance(found[0], float):
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=found))
        else:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=found))
        features[f"image/{key}"] = feature
    data: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return data


def frame(data: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack("<Q", len(data))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, data))
    return length + next(checksums) + data + next(checksums)


def write_records(path: Path, examples: Sequence[bytes], *, packed: bool = False) -> Path:
    """Writes one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(frame(example) for example in examples)
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def write_record_set(folder: Path, num: int = 6, *, label_map: bool = False, **changes: Any) -> Path:
    """Six records in `a.record`, two classes in turn, and a label map if wanted."""
    write_records(folder / "a.record", [to_example(record_features(number, **changes)) for number in range(num)])
    if label_map:
        (folder / "map.pbtxt").write_text("item { id: 1 name: 'nut' }\nitem { id: 2 name: 'fig' }\n")
    return folder
