"""A converted file on a user's images, with the pre-processing and decoding that it was validated with."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stages.core.base.errors import ArtifactError, DataError, InferenceError
from stages.core.base.jsonfile import write_json
from stages.core.predicting.drawing import draw_detections, load_font, place_side_by_side
from stages.core.predicting.inputs import Frame, UnreadableError, read_frames
from stages.core.predicting.output import RUN_RECORD, Output, new_output
from stages.core.predicting.requests import SCORE_THRESHOLD
from stages.core.results.prediction import Prediction, SkippedInput
from stages.core.running.artifact import Artifact
from stages.core.running.isolated import IsolatedRunner


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """How to predict.

    Attributes:
      score_threshold: Detections below are left out, 0..1.
      num_threads: Threads of one inference.
      with_crops: Whether the pixels of every box are written too.
      font_file: Font of the names on the pictures; None for Pillow's own.
    """

    score_threshold: float = SCORE_THRESHOLD
    num_threads: int = 2
    with_crops: bool = False
    font_file: Path | None = None


def predict_files(
    files: tuple[Path, ...],
    artifact: Artifact,
    *,
    float_artifact: Artifact | None,
    out: Path,
    settings: PredictSettings,
) -> Prediction:
    """Runs a model over images and videos and writes the output folder, as a whole or not at all.

    What cannot be read is skipped, counted and listed; the rest goes on.

    Args:
      files: What `find_inputs` found.
      artifact: The model; float_artifact: one that is run and drawn beside it, and nothing else.
      out: Folder to write; one of an earlier prediction is replaced.

    Raises:
      DataError: if none of the files can be read; nothing is written then.
      ArtifactError: if a model's tensors are not those of its interface, or its runtime refuses it or crashes.
      UsageError: if the output folder or the font cannot be used.
    """
    load_font(12, settings.font_file)
    with new_output(out) as folder, ExitStack() as stack:
        models = [artifact] if float_artifact is None else [artifact, float_artifact]
        output = Output(
            folder, {int(key): name for key, name in artifact.interface.labels.items()}, settings.with_crops
        )
        stack.callback(output.close)
        try:
            runners = [stack.enter_context(IsolatedRunner(model, num_threads=settings.num_threads)) for model in models]
            seconds, skipped = _run(files, runners, [name_model(model) for model in models], output, settings)
        except InferenceError as error:
            raise ArtifactError(f"{artifact.path}: {error}") from None
        if not output.images:
            raise DataError(f"none of {len(files)} files could be read: {list_skipped(skipped)}")
        output.finish()
        prediction = Prediction(
            model=artifact.interface.model,
            artifact=str(artifact.path),
            artifact_sha256=artifact.sha256,
            float_artifact=None if float_artifact is None else str(float_artifact.path),
            runtime=runners[0].runtime,
            delegate=runners[0].delegate,
            num_threads=settings.num_threads,
            score_threshold=settings.score_threshold,
            num_images=len(output.images),
            num_objects=output.objects.total(),
            objects_per_class=dict(sorted(output.objects.items())),
            images_per_second=len(output.images) / max(seconds, 1e-9),
            skipped=tuple(skipped),
        )
        write_json(prediction, folder / RUN_RECORD)
    return prediction


def list_skipped(skipped: Iterable[SkippedInput], most: int = 5) -> str:
    """The files that could not be read, with their reasons, in one line."""
    texts = [f"{entry.file}: {' '.join(entry.reason.split())}" for entry in skipped]
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


def summarize_prediction(prediction: Prediction, out: Path) -> str:
    """What was found, how fast, and where it is."""
    classes = ", ".join(f"{number} {name}" for name, number in prediction.objects_per_class.items())
    found = f"{prediction.num_objects} objects with a score of {prediction.score_threshold:g} or more"
    lines = [
        f"{prediction.num_images} images, {found}{f' ({classes})' if classes else ''}",
        f"{prediction.images_per_second:.1f} images/s with pre-processing and decoding, on {prediction.runtime}, "
        f"{prediction.delegate}, {prediction.num_threads} threads",
    ]
    if prediction.float_artifact is not None:
        lines.append(f"float model beside it: {prediction.float_artifact}")
    return "\n".join([*lines, f"written: {out}"])


def name_model(artifact: Artifact) -> str:
    """What a picture's title calls a file: its folder, which in a project is its scheme."""
    return artifact.path.resolve().parent.name


def _run(
    files: tuple[Path, ...],
    runners: Sequence[IsolatedRunner],
    titles: Sequence[str],
    output: Output,
    settings: PredictSettings,
) -> tuple[float, list[SkippedInput]]:
    """Seconds that the first model took, and what could not be read."""
    seconds, skipped = 0.0, list[SkippedInput]()
    # The first inference is slower, and no speed that a user would see again.
    runners[0].run(np.zeros((*runners[0].interface.input.size, 3), np.uint8))
    for frame in _show_progress(files, skipped):
        start = time.perf_counter()
        found = [runners[0].run(frame.pixels)]
        seconds += time.perf_counter() - start
        found += [runner.run(frame.pixels) for runner in runners[1:]]
        kept = [detections.above(settings.score_threshold) for detections in found]
        drawn = [draw_detections(frame.pixels, one, output.labels, font_file=settings.font_file) for one in kept]
        whole = drawn[0] if len(drawn) == 1 else place_side_by_side(list(zip(titles, drawn, strict=True)))
        output.add(frame, kept[0], whole)
    return seconds, skipped


def _show_progress(files: tuple[Path, ...], skipped: list[SkippedInput]) -> Iterator[Frame]:
    """The pictures of all files, with a progress bar on stderr; adds to `skipped`."""
    columns = (TextColumn("predict"), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("predict", total=len(files), speed="")
        start, pictures = time.monotonic(), 0
        for path in files:
            try:
                for frame in read_frames(path):
                    yield frame
                    pictures += 1
                    speed = pictures / (time.monotonic() - start)
                    progress.update(task, speed=f"{speed:.1f} images/s")
            except UnreadableError as error:
                skipped.append(SkippedInput(file=str(path), reason=str(error)))
            progress.advance(task)
