"""A trained model read back as it was kept, whatever variant it is."""

from pathlib import Path
from typing import Any

from official.core import config_definitions as cfg

from stages.core.base.errors import ArtifactError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import EXPERIMENT_FILE, RESULT_FILE
from stages.core.detectors.build import build_model, read_experiment, restore_weights
from stages.core.quantizing.model import put_weights_on_grid, quantize_model
from stages.core.results.kinds import Variant
from stages.core.results.training import TrainResult
from stages.core.tables.detectors import DETECTORS, RENAMED_DETECTORS


def load_trained(trained_dir: Path) -> tuple[cfg.ExperimentConfig, Any]:
    """A trained model as it was kept.

    Args:
      trained_dir: `models/<variant>/<model>`, of any variant.

    Returns:
      The configuration and the `tf_keras.Model` with the weights of result.json's checkpoint. After
      quantization-aware training, the weights are on int8's grid and the model rounds its activations.

    Raises:
      MissingResultError: if there is no result.json.
      ArtifactError: if the configuration is missing or does not fit.
      CheckpointError: if the checkpoint is missing, damaged, or does not fit the model.
    """
    result = read_json(TrainResult, trained_dir / RESULT_FILE)
    if result.model not in DETECTORS:
        renamed = RENAMED_DETECTORS.get(result.model)
        hint = f"called {renamed!r} now; run `train` again" if renamed else f"known: {list(DETECTORS)}"
        raise ArtifactError(f"{trained_dir / RESULT_FILE}: unknown model {result.model!r} ({hint})")
    config = read_experiment(trained_dir / EXPERIMENT_FILE, DETECTORS[result.model])
    model = build_model(config)
    if result.variant not in (Variant.QAT, Variant.PRUNED_QAT):
        restore_weights(model, trained_dir / result.checkpoint)
        return config, model
    quantize_model(model)
    restore_weights(model, trained_dir / result.checkpoint)
    put_weights_on_grid(model)
    return config, model
