"""Checkpoints are read whatever the folder is called."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from stages.core.training.initializing.stored import CheckpointFile

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("folder", ["plain", "br[1]", "a,b", "ques?tion", "stern*chen", "größe 100%"])
def test_values_are_read_below_any_folder(folder: str, tmp_path: Path) -> None:
    written = tf.train.Checkpoint(weight=tf.Variable([1.0, 2.0])).write(str(tmp_path / "written" / "ckpt"))
    shutil.copytree(Path(written).parent, tmp_path / folder)
    file = CheckpointFile(tmp_path / folder / "ckpt")
    (key,) = (name for name in file.shapes() if name.startswith("weight/"))
    assert file.shapes()[key] == (2,)
    assert file.read(key).tolist() == [1.0, 2.0]
