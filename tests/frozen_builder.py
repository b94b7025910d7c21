"""TF1 frozen graphs for tests: a small detector written here, and real MetaGraphs with their initial values."""

from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64
NUM_CLASSES = 3
PER_CELL = 3
HEADS = {"boxes": "Squeeze", "scores": "Postprocessor/convert_scores", "anchors": "Concatenate/concat"}
ENTRY = "Preprocessor/sub"


def section(path: str, **changes: Any) -> dict[str, Any]:
    """The model's entry below `brought`."""
    return {
        "kind": "frozen_graph",
        "path": path,
        "layout": "raw_heads",
        "input": {"name": ENTRY, "size": [SIZE, SIZE], "mean": 127.5, "deviation": 127.5},
        "outputs": dict(HEADS),
        "labels": ["circle", "square", "triangle"],
    } | changes


def write_frozen_detector(path: Path, *, fake_quant: bool = False, background: bool = True, seed: int = 0) -> None:
    """A frozen graph with the Object Detection API's names: image_tensor to raw heads, 2 levels, 3 anchors a cell."""
    import tensorflow as tf

    v1, rng = tf.compat.v1, np.random.default_rng(seed)

    def constant(shape: tuple[int, ...], name: str) -> Any:
        return tf.constant(rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape).astype(np.float32), name=name)

    def rounded(value: Any, low: float, high: float, name: str, narrow: bool = False) -> Any:
        if not fake_quant:
            return value
        return tf.quantization.fake_quant_with_min_max_vars(value, low, high, narrow_range=narrow, name=name)

    def convolve(value: Any, channels: int, stride: int, name: str, *, relu: bool = True) -> Any:
        kernel = rounded(constant((3, 3, int(value.shape[3]), channels), f"{name}/weights"), -1, 1, f"{name}/wq", True)
        value = tf.nn.conv2d(value, kernel, stride, "SAME", name=f"{name}/Conv2D")
        value = tf.nn.bias_add(value, tf.constant(rng.normal(0, 0.1, channels).astype(np.float32)))
        return rounded(tf.nn.relu6(value) if relu else value, *((0, 6) if relu else (-6, 6)), f"{name}/act_quant")

    with tf.Graph().as_default() as graph:
        pixels = v1.placeholder(tf.uint8, [None, SIZE, SIZE, 3], name="image_tensor")
        with tf.name_scope("Preprocessor"):
            value = tf.subtract(tf.cast(pixels, tf.float32) * (2 / 255), 1.0, name="sub")
        value = convolve(convolve(value, 8, 4, "Conv"), 8, 2, "Conv_1")
        value = rounded(value + convolve(value, 8, 1, "Conv_2"), 0, 12, "add_quant")
        columns = NUM_CLASSES + background
        levels = [value, convolve(value, 8, 2, "Conv_3")]
        flat = {
            kind: [
                tf.reshape(convolve(level, PER_CELL * depth, 1, f"{kind}_{index}", relu=False), [1, -1, depth])
                for index, level in enumerate(levels)
            ]
            for kind, depth in (("box", 4), ("class", columns))
        }
        boxes = rounded(tf.concat(flat["box"], 1, name="concat"), -6, 6, "concat_quant")
        tf.identity(boxes, name="Squeeze")
        tf.sigmoid(tf.concat(flat["class"], 1, name="concat_1") - 1.0, name="Postprocessor/convert_scores")
        scales = zip(levels, (0.2, 0.4), strict=True)
        anchors = np.concatenate([_anchors(int(level.shape[1]), scale) for level, scale in scales])
        tf.identity(tf.constant(anchors), name="Concatenate/concat")
        low, high = anchors[:, :2], anchors[:, 2:]
        tf.constant(np.concatenate([(low + high) / 2, high - low], axis=1), name="anchors")
        graph_def = graph.as_graph_def()
        # As `export_tflite_ssd_graph` ends a graph: with an op that TensorFlow does not have.
        last = graph_def.node.add(name="TFLite_Detection_PostProcess", op="TFLite_Detection_PostProcess")
        last.input.extend([HEADS["boxes"], HEADS["scores"], "anchors"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(graph_def.SerializeToString())


def _anchors(cells: int, scale: float) -> np.ndarray:
    """float32 [cells * cells * PER_CELL, 4], corners over the input's sides."""
    centers = (np.arange(cells) + 0.5) / cells
    y, x = (grid.reshape(-1, 1) for grid in np.meshgrid(centers, centers, indexing="ij"))
    ratios = np.sqrt(np.asarray([[0.5, 1.0, 2.0]]))
    height, width = (np.broadcast_to(scale * side, (cells**2, PER_CELL)) for side in (1 / ratios, ratios))
    corners = np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=-1)
    return corners.reshape(-1, 4).astype(np.float32)


def freeze_meta_graph(source: Path, path: Path, entry: str, size: int) -> None:
    """A frozen graph from a real MetaGraph: its variables get their initial values, its network input a placeholder."""
    import tensorflow as tf

    from stages.core.exporting.frozen_graph import keep_ancestors

    meta = tf.compat.v1.MetaGraphDef()
    meta.ParseFromString(source.read_bytes())
    nodes, outputs = meta.graph_def.node, list(HEADS.values())
    opened = tf.compat.v1.GraphDef(versions=meta.graph_def.versions)
    for node in nodes:
        if node.name == entry:
            image = opened.node.add(name=entry, op="Placeholder")
            image.attr["dtype"].type = tf.float32.as_datatype_enum
            image.attr["shape"].shape.CopyFrom(tf.TensorShape([1, size, size, 3]).as_proto())
        else:
            opened.node.add().CopyFrom(node)
    variables = {node.name for node in keep_ancestors(opened, outputs).node if node.op == "VariableV2"}
    assigns = [n.name for n in nodes if n.op == "Assign" and n.input[0] in variables and not n.name.startswith("save")]
    part = keep_ancestors(opened, [*outputs, *assigns])
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.set_random_seed(0)
        tf.graph_util.import_graph_def(part, name="")
        session.run([graph.get_operation_by_name(name) for name in assigns])
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, part, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(frozen.SerializeToString())


def run_frozen(path: Path, tensors: list[str], images: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Values of tensors of a frozen graph, computed by TensorFlow alone."""
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    unknown = [node for node in graph_def.node if node.op == "TFLite_Detection_PostProcess"]
    for node in unknown:
        graph_def.node.remove(node)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        return list(session.run([f"{name}:0" for name in tensors], {f"{k}:0": v for k, v in images.items()}))
