"""A model that only its author's code can build: run in a process of its own, and mistakes in it are one line."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.exporting.foreign_code import save_foreign_model

pytestmark = pytest.mark.slow

GRAPH_MODE = """
import tensorflow as tf
import helper

tf.compat.v1.disable_eager_execution()


def build_model():
    image = tf.keras.Input([8, 8, 3], name="input_image")
    return tf.keras.Model(image, tf.keras.layers.Conv2D(helper.FILTERS, 1, name="head")(image))
"""


def test_graph_mode_code_becomes_a_saved_model(tmp_path: Path) -> None:
    """Code that switches eager execution off, imports its neighbour and knows nothing of files."""
    import tf_keras

    from stages.core.substituting.frozen import freeze_signature
    from stages.core.substituting.substitute import substitute

    (tmp_path / "helper.py").write_text("FILTERS = 2\n")
    (tmp_path / "code.py").write_text(GRAPH_MODE)
    image = tf_keras.Input([8, 8, 3])
    model = tf_keras.Model(image, tf_keras.layers.Conv2D(2, 1, name="head")(image))
    model.save_weights(tmp_path / "w.h5")
    save_foreign_model(tmp_path / "code.py", tmp_path / "w.h5", tmp_path / "saved")
    found = substitute(freeze_signature(tmp_path / "saved"), shapes={"input_image": [1, 8, 8, 3]})
    pixels = np.random.default_rng(0).normal(size=[1, 8, 8, 3]).astype(np.float32)
    (value,) = found.function(input_image=pixels).values()
    np.testing.assert_allclose(value, model(pixels), atol=1e-6)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\n", r"no function build_model\(\)"),
        ("def build_model():\n    return 3\n", "returned a int, expected a Keras model"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError"),
        ("raise SystemExit('not here')\n", "SystemExit: not here"),
        ("import os\nos._exit(7)\n", "ended with status 7"),
    ],
)
def test_mistakes_in_the_code_are_one_line(tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "code.py").write_text(code)
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(ArtifactError, match=said):
        save_foreign_model(tmp_path / "code.py", tmp_path / "w.h5", tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResultError, match=r"code\.py: no such file"):
        save_foreign_model(tmp_path / "code.py", tmp_path / "w.h5", tmp_path / "saved")
