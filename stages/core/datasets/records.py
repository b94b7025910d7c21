"""TFRecord shards with the TF Object Detection API's standard keys, as Model Garden's decoder reads them.

Source of the keys: `dataset_tools/create_{coco,pascal}_tf_record.py` of the Object Detection API.
TensorFlow is imported when the first record is written: worker processes, which import what this module's users
import, stay free of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stages.core.base.hashing import hash_file
from stages.core.datasets.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image as it goes into a shard.

    Attributes:
      image_id: Normalised id.
      path: Stored image.
      masks_png: One PNG per object (pixels 0 and 1), or none at all for a data set without masks.
    """

    image_id: int
    path: Path
    sample: Sample
    masks_png: tuple[bytes, ...]


class RecordWriter(Protocol):
    """Takes records one by one."""

    def __call__(self, record: Record) -> None: ...


@contextmanager
def open_shards(folder: Path, split: str, num_shards: int, labels: dict[int, str]) -> Iterator[RecordWriter]:
    """Opens `<split>-00000-of-0000N.tfrecord` ...; records go round, so that shards are of equal length.

    Args:
      folder: Of the split.
      num_shards: No more than there are records: an empty shard helps no reader.
      labels: Category id to name.
    """
    import tensorflow as tf  # 11 s and 740 MB: only here, see above

    with ExitStack() as stack:
        names = [folder / f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord" for index in range(num_shards)]
        shards = [stack.enter_context(tf.io.TFRecordWriter(str(name))) for name in names]
        written = 0

        def write(record: Record) -> None:
            nonlocal written
            # Deterministic: the features are a map, whose order in bytes is otherwise free.
            data = record_to_example(record, labels).SerializeToString(deterministic=True)
            shards[written % num_shards].write(data)
            written += 1

        yield write


def record_to_example(record: Record, labels: dict[int, str]) -> Any:
    """The `tf.train.Example` of one image; boxes are divided by the image's sides (0..1)."""
    import tensorflow as tf

    sample = record.sample
    objects, height, width = sample.objects, sample.height, sample.width
    values: dict[str, Sequence[Any]] = {
        "image/encoded": [record.path.read_bytes()],
        "image/format": [sample.format.encode()],
        "image/height": [height],
        "image/width": [width],
        "image/filename": [record.path.name.encode()],
        "image/source_id": [str(record.image_id).encode()],
        "image/key/sha256": [hash_file(record.path).encode()],
        "image/object/bbox/xmin": [found.box_xyxy[0] / width for found in objects],
        "image/object/bbox/ymin": [found.box_xyxy[1] / height for found in objects],
        "image/object/bbox/xmax": [found.box_xyxy[2] / width for found in objects],
        "image/object/bbox/ymax": [found.box_xyxy[3] / height for found in objects],
        "image/object/class/text": [labels[found.category_id].encode() for found in objects],
        "image/object/class/label": [found.category_id for found in objects],
        # The one flag that Model Garden's decoder passes on.
        "image/object/is_crowd": [int(found.is_ignored) for found in objects],
        "image/object/area": [float(found.area) for found in objects],
        "image/object/difficult": [int(found.is_difficult) for found in objects],
        "image/object/truncated": [int(found.is_truncated) for found in objects],
        "image/object/mask": list(record.masks_png),
    }
    features = {key: _to_feature(tf, key, found) for key, found in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def _to_feature(tf: Any, key: str, values: Iterable[Any]) -> Any:
    values = list(values)
    if key in FLOAT_KEYS:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if key in BYTES_KEYS:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


FLOAT_KEYS = frozenset(f"image/object/{name}" for name in ("bbox/xmin", "bbox/ymin", "bbox/xmax", "bbox/ymax", "area"))
BYTES_KEYS = frozenset(
    {
        "image/encoded",
        "image/format",
        "image/filename",
        "image/source_id",
        "image/key/sha256",
        "image/object/class/text",
        "image/object/mask",
    }
)
