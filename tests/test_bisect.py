"""`bisect` names the layer that was broken, in a file of any runtime."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import bisect, convert
from stages.core.base.errors import ArtifactError
from stages.core.base.hashing import hash_files
from stages.core.base.layout import MODEL_FILES, Layout
from stages.core.graphs.flatbuffer import pack_model, parse_model, read_graph
from stages.core.results.kinds import Backend

pytestmark = pytest.mark.slow

MODEL = "retinanet_mobiledet_tiny"


@pytest.fixture(scope="module")
def project(exported_project: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A copy with two converted files."""
    root = tmp_path_factory.mktemp("bisected")
    layout = Layout(root)
    shutil.copy(exported_project.params, layout.params)
    shutil.copytree(exported_project.prepared, layout.prepared)
    shutil.copytree(exported_project.exported(MODEL, "trained"), layout.exported(MODEL, "trained"))
    for scheme in ("float32", "openvino_float32"):
        assert convert.main(["--model", MODEL, "--scheme", scheme, "--root", str(root)]) == 0
    return layout


def run(layout: Layout, scheme: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    args = ["--model", MODEL, "--scheme", scheme, "--root", str(layout.root), "--images", "1", *more]
    assert bisect.main(args) == 0
    return capsys.readouterr().out.strip().splitlines()[-1]


def break_ir(path: Path) -> None:
    """Adds to the weights of the third convolution, without changing which layer they are of."""
    import openvino as ov
    from openvino import opset13

    model = ov.Core().read_model(path, path.with_suffix(".bin"))
    layers = [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    weights = np.array(layers[2].input_value(1).get_node().data)
    weights[0] *= 3
    layers[2].set_argument(1, opset13.constant(weights).output(0))
    folder = path.parent / "new"
    ov.save_model(model, folder / path.name, compress_to_fp16=False)
    for file in folder.iterdir():
        file.replace(path.parent / file.name)
    folder.rmdir()


def break_tflite(path: Path) -> None:
    content = path.read_bytes()
    model = parse_model(content, path)
    layer = [op for op in read_graph(content, path).ops if op.kind == "CONV_2D"][2]
    tensor: Any = model.subgraphs[0].tensors[layer.inputs[1]]
    weights = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape).copy()
    weights[0] *= 3
    model.buffers[tensor.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)
    path.write_bytes(pack_model(model))


@pytest.mark.parametrize("scheme", ["float32", "openvino_float32"])
def test_the_broken_layer_is_the_first(project: Layout, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project.converted(MODEL, scheme)
    backend = Backend.TFLITE if scheme == "float32" else Backend.OPENVINO
    files = [folder / name for name in MODEL_FILES[backend]]
    {Backend.TFLITE: break_tflite, Backend.OPENVINO: break_ir}[backend](files[0])
    result = folder / "result.json"
    sizes = {"sha256": hash_files(files), "size_bytes": sum(file.stat().st_size for file in files)}
    result.write_text(json.dumps(json.loads(result.read_text()) | sizes))
    broken = run(project, scheme, capsys)
    assert "73 of 73 layers" in broken
    assert "the first with an SQNR below 60 dB: " in broken
    assert "tucker_conv_block" in broken.rpartition("60 dB: ")[2]
    assert "conv2d_1/Conv2D (SQNR" in broken


def test_a_row_without_a_file_is_one_line(project: Layout) -> None:
    folder = project.converted(MODEL, "int8")
    shutil.copytree(project.converted(MODEL, "float32"), folder)
    result = folder / "result.json"
    gone = {"artifact": None, "status": "failed", "reason": "the runtime crashed"}
    result.write_text(json.dumps(json.loads(result.read_text()) | gone))
    with pytest.raises(ArtifactError, match=r"no file to look into: failed: the runtime crashed"):
        bisect.main(["--model", MODEL, "--scheme", "int8", "--root", str(project.root)])
