"""What is asked for and cannot be done: one line that names the node or the row; and a user's own rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.base.errors import ArtifactError, MissingResultError, ParamsError, UserError
from stages.core.substituting.frozen import Frozen, freeze_function, freeze_graph_def, freeze_signature
from stages.core.substituting.own_rows import change_attributes, load_attribute_rows, load_own_rules
from stages.core.substituting.substitute import substitute

pytestmark = pytest.mark.slow


def freeze(run: Callable[..., Any], *shapes: tuple[int | None, ...]) -> Frozen:
    specs = [tf.TensorSpec(shape, tf.float32, name=name) for shape, name in zip(shapes, "xyz", strict=False)]
    return freeze_function(tf.function(run).get_concrete_function(*specs))


def grow(x: Any) -> dict[str, Any]:
    """A loop whose turns the content decides, and that hands a number on."""
    return {"y": tf.while_loop(lambda v: tf.reduce_sum(v) < 100.0, lambda v: (v * 2.0,), (x,))[0]}


def branch(x: Any) -> dict[str, Any]:
    return {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0)}


def shape_by_content(x: Any) -> dict[str, Any]:
    return {"y": tf.reshape(x, tf.stack([tf.cast(x[0], tf.int32), -1]))}


def plain(x: Any) -> dict[str, Any]:
    return {"y": x + 1.0}


def two_inputs(x: Any, y: Any) -> dict[str, Any]:
    return {"z": x + tf.reduce_sum(y)}


@pytest.mark.parametrize(
    ("frozen", "options", "said"),
    [
        (lambda: freeze(grow, (4,)), {}, "StatelessWhile.*only maps"),
        (lambda: freeze(branch, (4,)), {}, r"StatelessIf.*content decides"),
        (lambda: freeze(shape_by_content, (4,)), {}, "Reshape.*depends on the image's content"),
        (lambda: freeze(plain, (None, 4)), {}, "input 'x' is .* state its shape"),
        (lambda: freeze(plain, (None, 4)), {"shapes": {"x": [2, 5]}}, "input 'x' is .* asked for"),
        (lambda: freeze(plain, (4,)), {"shapes": {"image": [4]}}, "no input 'image'; it has x"),
        (lambda: freeze(plain, (4,)), {"bound": {"anchors": [1]}}, "no input 'anchors'; it has x"),
        (lambda: freeze(plain, (4,)), {"bound": {"x": [1.0]}}, r"input 'x' is .*bound to it \(1,\)"),
        (lambda: freeze(plain, (4,)), {"bound": {"x": [1.0] * 4}}, "all inputs are bound"),
        (lambda: freeze(plain, (4,)), {"outputs": ["masks"]}, "no output masks; it has y"),
    ],
)
def test_refusals_name_the_op_or_the_tensor(frozen: Callable[[], Frozen], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        substitute(frozen(), **options)


def test_loops_of_tensorflow_1_are_refused() -> None:
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="x", op="Placeholder")
    graph.node.add(name="loop", op="Enter", input=["x"])
    with pytest.raises(ArtifactError, match=r"loops of TensorFlow 1 \(Enter\)"):
        freeze_graph_def(graph, ["x"], {"y": "loop:0"}, "graph.pb")


def test_bound_inputs_become_constants() -> None:
    frozen = freeze(two_inputs, (4,), (2, 2))
    found = substitute(frozen, bound={"y": np.ones([2, 2])})
    assert list(found.function.structured_input_signature[1]) == ["x"]
    np.testing.assert_array_equal(found.function(x=tf.zeros([4]))["z"], np.full(4, 4.0))


@pytest.mark.parametrize(
    ("write", "signature", "error", "said"),
    [
        (lambda folder: None, "serving_default", MissingResultError, "no SavedModel"),
        (
            lambda folder: (folder / "saved_model.pb").write_bytes(b"damaged"),
            "serving_default",
            ArtifactError,
            "cannot load it",
        ),
        (
            lambda folder: tf.saved_model.save(tf.Module(), str(folder)),
            "detect",
            ArtifactError,
            "no signature 'detect'; it has: none",
        ),
    ],
)
def test_saved_models_are_checked(
    tmp_path: Path, write: Callable[[Path], Any], signature: str, error: type[UserError], said: str
) -> None:
    write(tmp_path)
    with pytest.raises(error, match=said):
        freeze_signature(tmp_path, signature)


def test_own_function_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.py"
    path.write_text(
        "import tensorflow as tf\nSUBSTITUTIONS = {'Erfc': lambda inputs, attributes: [1.0 - tf.math.erf(inputs[0])]}\n"
    )
    frozen = freeze(lambda x: {"y": tf.math.erfc(x)}, (5,))
    values = {"x": np.linspace(-2, 2, 5, dtype=np.float32)}
    found = substitute(frozen, own=load_own_rules(path), images=[values])
    (row,) = found.replacements
    assert (row.op, row.by, row.count) == ("Erfc", "a row of your own", 1)
    assert row.error is not None
    assert 0 <= row.error < 1e-6
    assert "Erfc" not in {node.op for node in found.function.graph.as_graph_def().node}


def test_own_attributes_are_set(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text("- {op: LeakyRelu, name: ^b, set: {alpha: 0.5}}\n")
    frozen = freeze(lambda x: {"y": tf.nn.leaky_relu(x, 0.1, name="a") + tf.nn.leaky_relu(x, 0.1, name="b")}, (1,))
    graph, counts = change_attributes(frozen.graph, load_attribute_rows(path))
    assert counts == {"LeakyRelu": 1}
    changed = substitute(Frozen(graph=graph, inputs=frozen.inputs, outputs=frozen.outputs, source="g"))
    np.testing.assert_allclose(changed.function(x=tf.constant([-1.0]))["y"], [-0.6], rtol=1e-6)


@pytest.mark.parametrize(
    ("load", "name", "text", "said"),
    [
        (load_own_rules, "a.py", "ROWS = {}", "expected SUBSTITUTIONS"),
        (load_own_rules, "a.py", "1 / 0", "ZeroDivisionError"),
        (load_own_rules, "missing.py", None, "no such file"),
        (load_attribute_rows, "a.yaml", "{op: Relu}", "expected a list"),
        (load_attribute_rows, "a.yaml", "- {op: Relu}", "expected rows of op, name, set"),
        (load_attribute_rows, "a.yaml", "- [", "not YAML"),
    ],
)
def test_own_files_are_checked(tmp_path: Path, load: Any, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ParamsError, match=said):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"op": "Conv2D", "set": {"strides": [1]}}, "no node fits"),
        ({"op": "LeakyRelu", "set": {"slope": 0.5}}, "no attribute 'slope'; it has .*alpha"),
        ({"op": "LeakyRelu", "set": {"alpha": "half"}}, "alpha cannot be 'half'"),
    ],
)
def test_attribute_rows_that_do_not_fit(row: dict[str, Any], said: str) -> None:
    frozen = freeze(lambda x: {"y": tf.nn.leaky_relu(x, 0.1)}, (1,))
    with pytest.raises(ArtifactError, match=said):
        change_attributes(frozen.graph, [row])
