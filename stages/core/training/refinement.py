"""How a later training differs from the first: it starts from trained weights and changes the model before it goes on.

Pruning and quantization-aware training are such trainings. What they share with the first one (data, resume, history,
best checkpoint, result folder) is `train.train_detector`, which takes a `Refinement`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from stages.core.base.errors import MissingResultError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE
from stages.core.results.kinds import MAKERS, Variant
from stages.core.results.status import Status
from stages.core.results.training import TrainResult
from stages.core.training.hooks import TaskHook


class Refinement(TaskHook, Protocol):
    """One way to go on from trained weights: a hook whose `convert` loads them and changes the model.

    The architecture, the losses and the augmentation are those of the source's experiment.yaml; steps, learning rate,
    batch size and intervals are those of the settings that `train_detector` is given.
    """

    @property
    def variant(self) -> Variant:
        """What the result is called."""
        ...

    @property
    def source(self) -> Path:
        """Folder of the weights to start from, of the shape that `train` writes."""
        ...

    @property
    def key(self) -> Mapping[str, Any]:
        """Everything of the refinement that its result depends on, as plain JSON values; kept as refinement.json.

        The hash of the source's weights enters the training's key by itself.
        """
        ...

    @property
    def settled_step(self) -> int:
        """First step whose weights may be the result: earlier ones are not evaluated. 0 if any may be."""
        ...

    def finish(self, model: Any) -> Any:
        """The model to write as the result, once the best weights are back in `model`.

        Returns:
          A trackable with `checkpoint_items`; mostly `model` itself, or what is left of it without training's state.
        """
        ...


def read_source(folder: Path, model: str) -> TrainResult:
    """The result that a refinement of `model` starts from. Needs no TensorFlow.

    Raises:
      MissingResultError: if there are no weights of this model in the folder.
      ArtifactError: if its result.json is damaged.
    """
    advice = f"run `python -m stages.{MAKERS[Variant(folder.parent.name)]} --model {model}` first"
    if not (folder / RESULT_FILE).is_file():
        raise MissingResultError(f"{folder}: no trained weights of {model} to start from; {advice}")
    result = read_json(TrainResult, folder / RESULT_FILE)
    if result.status is not Status.OK:
        raise MissingResultError(f"{folder}: no weights to start from ({result.status}: {result.reason}); {advice}")
    if result.model != model:
        raise MissingResultError(f"{folder}: weights of {result.model}, expected those of {model}; {advice}")
    return result
