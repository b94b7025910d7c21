"""MobileNetV2, as narrow as it gets: prune, quantization-aware training and export know its layers."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.exporting.graph import PostProcessingSettings, normalize_pixels
from stages.core.exporting.retinanet import RAW_BOXES, RAW_SCORES, build_retinanet_graph
from stages.core.params.steps import ExportParams
from stages.core.pruning.kernels import KernelKind, Pattern, choose_kernels, list_kernels
from stages.core.quantizing.attach import walk_layers
from stages.core.quantizing.model import put_weights_on_grid, quantize_model
from stages.core.tables.detectors import SIGNED
from tests.exported_project import SIZE, random_model
from tests.quantized_model import observe, run_heads
from tests.run_graph import run_graph

pytestmark = pytest.mark.slow

PIXELS = np.floor(np.random.default_rng(0).uniform(0, 256, (1, SIZE, SIZE, 3))).astype(np.float32)
PICTURE = normalize_pixels(tf.constant(PIXELS), SIGNED)
SETTINGS = PostProcessingSettings(**ExportParams().model_dump())


@pytest.fixture(scope="module")
def narrow() -> tuple[Any, Any]:
    """(configuration, model) with random weights."""
    backbone = {"mobilenet": {"filter_size_scale": 0.1}}
    return random_model("retinanet_mobilenetv2", backbone=backbone, head={"num_convs": 1})


def test_what_costs_is_pruned(narrow: tuple[Any, Any]) -> None:
    kernels = list_kernels(narrow[1])
    choice = choose_kernels(kernels, None, Pattern(sparsity=0.5))
    kinds = {kernel.path: kernel.kind for kernel in kernels}
    in_backbone = [path for path in kinds if path.startswith("backbone/")]
    assert len(in_backbone) == 1 + 2 + 3 * 16 + 1  # first, one block of two, 16 of three, last
    left = {path for path in choice.dense if path.startswith("backbone/")}
    assert left == {path for path in in_backbone if kinds[path] is KernelKind.DEPTHWISE} | {in_backbone[0]}


def test_what_is_exported_and_quantized_answers_like_the_model(narrow: tuple[Any, Any]) -> None:
    config, model = narrow
    expected = run_heads(model, PICTURE)
    raw = run_graph(build_retinanet_graph(config.task.model, model, SETTINGS), PIXELS)[1]
    levels = sorted({name.split("_")[1] for name in expected})
    for output, name in ((RAW_BOXES, "boxes"), (RAW_SCORES, "scores")):
        rows = np.concatenate([expected[f"{name}_{level}"].reshape(-1, raw[output].shape[-1]) for level in levels])
        rows = 1 / (1 + np.exp(-rows)) if name == "scores" else rows
        np.testing.assert_allclose(raw[output][0], rows, atol=1e-4)

    quantize_model(model)
    observe(model, PICTURE)
    put_weights_on_grid(model)
    kernels = [layer for layer in walk_layers(model.backbone) if hasattr(layer, "kernel") or "depthwise" in layer.name]
    assert kernels
    assert all(getattr(layer, "weight_rounders", None) for layer in kernels if layer.built and layer.weights)
    rounded = run_heads(model, PICTURE)
    for name, values in expected.items():
        assert np.abs(rounded[name] - values).mean() < 0.15 * np.abs(values).mean() + 0.01, name
        assert np.abs(rounded[name] - values).max() > 0, name
