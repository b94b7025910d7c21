"""A detector as an MLflow model.

MLflow keeps this file with the model and runs it to load one. Importing it therefore does something, unlike importing
any other module of the project: it names the model. Nothing is pickled.
"""

import threading
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from stages.core.predicting.model_folder import open_model
from stages.core.predicting.requests import FOLDER_ARTIFACT, SCORE_THRESHOLD, detections_to_answer, read_request
from stages.core.running.open import open_runner

NUM_THREADS = 2


class DetectorModel(PythonModel):  # type: ignore[misc]
    """Runs a converted file with the project's own pre-processing and decoding, as `validate` did."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the file in its runtime."""
        artifact = open_model(Path(context.artifacts[FOLDER_ARTIFACT]))
        self._runner = open_runner(artifact, num_threads=NUM_THREADS)
        self._labels = {int(key): name for key, name in artifact.interface.labels.items()}
        # A runtime runs one image at a time, a server answers several requests at once.
        self._lock = threading.Lock()

    def predict(self, model_input: list[Any], params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Finds objects.

        Args:
          model_input: Images of any size: paths, bytes, base64 or pixels (`read_request`).
          params: `score_threshold`, 0..1: detections below are left out.

        Returns:
          For each image, `detections_to_answer`.

        Raises:
          UnreadableError: if an image cannot be read.
        """
        threshold = float((params or {}).get("score_threshold", SCORE_THRESHOLD))
        answers = []
        for image in model_input:
            pixels = read_request(image)
            with self._lock:
                detections = self._runner.run(pixels)
            answers.append(detections_to_answer(detections.above(threshold), self._labels))
        return answers


set_model(DetectorModel())
