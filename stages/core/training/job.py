"""What a training is made from, and the key under which it may be resumed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from official.core import config_definitions as cfg

from stages.core.base.hashing import hash_file, hash_value
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.datasets.prepared import check_labels
from stages.core.detectors.build import build_experiment, refine_experiment, register_experiments
from stages.core.detectors.data import TrainingData, check_batch_size
from stages.core.params.training import TrainSettings
from stages.core.results.kinds import MAKERS, Variant
from stages.core.tables.detectors import Detector
from stages.core.training.anchor_fit import AnchorFit, fit_anchors
from stages.core.training.bfloat16 import has_bfloat16
from stages.core.training.clock import TrainingLength
from stages.core.training.initializing.origin import InitCheckpoint, open_init_checkpoint
from stages.core.training.refinement import Refinement, read_source
from stages.core.training.tasks import TrainingSetup
from stages.core.training.workspace import work_folder


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """Everything that one training is made from.

    Attributes:
      detector, settings, data: Row, parameters, prepared data.
      config: Resolved configuration, with paths relative to the project's root.
      anchors: What `anchors.fit` found, already in `config`; None without it.
      init: Init checkpoint; None when training from scratch, or from a refinement's source.
      refinement: How the training differs from a first one; None for a first one.
      key: See `training_key`; a training is resumed only under the same key.
      folder: Work folder.
    """

    layout: Layout
    detector: Detector
    settings: TrainSettings
    data: TrainingData
    config: cfg.ExperimentConfig
    anchors: AnchorFit | None
    init: InitCheckpoint | None
    refinement: Refinement | None
    key: str
    folder: Path

    @property
    def variant(self) -> Variant:
        return Variant.TRAINED if self.refinement is None else self.refinement.variant

    @property
    def section(self) -> str:
        """Where the training's parameters are in params.yaml."""
        stage = MAKERS[self.variant]
        return f"{stage}.{self.detector.name}" if self.refinement is None else stage


def plan_training(
    layout: Layout,
    detector: Detector,
    settings: TrainSettings,
    data: TrainingData,
    refinement: Refinement | None,
    say: Callable[[str], None],
) -> TrainingJob:
    """Settles everything before the first step, and says what is fetched.

    Raises:
      ParamsError: for bad overrides.
      CheckpointError: if the init checkpoint is missing, or of no kind that is known.
      TrainingError: if a batch is larger than the data.
    """
    register_experiments()
    anchors = None
    if refinement is None:
        config, anchors = _first_experiment(layout, detector, settings, data)
    else:
        config = refine_experiment(refinement.source, detector, settings, data)
    check_batch_size(detector.name, config.task.train_data.global_batch_size, data.num_train)
    init = start_sha256 = None
    if refinement is not None:
        source = read_source(refinement.source, detector.name)
        prepared = {str(key): name for key, name in data.labels.items()}
        check_labels(source.labels, prepared, refinement.source / RESULT_FILE)
        start = refinement.source / source.checkpoint
        # The index holds the checksum of every tensor: its hash is the hash of the weights.
        start_sha256 = hash_file(Path(f"{start}.index"))
        say(f"{detector.name}: {refinement.variant} from {below_root(refinement.source, layout)}")
        if source.data_sha256 != data.sha256:
            say(f"warning: {detector.name}: these weights were trained on other data than what is prepared now")
    elif config.task.init_checkpoint:
        downloads = layout.work / "downloads"
        init = open_init_checkpoint(
            config.task.init_checkpoint, settings.init_labels, root=layout.root, downloads=downloads, say=say
        )
        start_sha256 = init.key
    key = training_key(config, settings, data.sha256, start_sha256, refinement)
    return TrainingJob(
        layout=layout,
        detector=detector,
        settings=settings,
        data=data,
        config=config,
        anchors=anchors,
        init=init,
        refinement=refinement,
        key=key,
        folder=work_folder(layout, detector.name, key),
    )


def below_root(folder: Path, layout: Layout) -> Path:
    """A folder as seen from the project's root, which either path may go to by a link."""
    return folder.resolve().relative_to(layout.root.resolve())


def _first_experiment(
    layout: Layout, detector: Detector, settings: TrainSettings, data: TrainingData
) -> tuple[cfg.ExperimentConfig, AnchorFit | None]:
    """The configuration of a first training, with fitted anchors where they are asked for."""
    config = build_experiment(detector, settings, data)
    if not settings.anchors.fit or detector.has_ssd_anchors:
        return config, None
    annotations, section = layout.annotations("train"), f"train.{detector.name}"
    fit = fit_anchors(config.task, settings.anchors, annotations, seed=settings.seed, section=section)
    return build_experiment(detector, settings.model_copy(update={"anchors": fit.anchors}), data), fit


def training_key(
    config: cfg.ExperimentConfig,
    settings: TrainSettings,
    data_sha256: str,
    start_sha256: str | None,
    refinement: Refinement | None = None,
) -> str:
    """Hash of all that a training's result depends on: configuration, data, weights to start from, refinement, and what
    of the settings is not in the configuration."""
    of_no_config = [settings.seed, settings.early_stopping_patience, settings.max_minutes, settings.bfloat16_math]
    values = [json.loads(json.dumps(config.as_dict())), *of_no_config]
    changed = [] if refinement is None else [refinement.variant.value, dict(refinement.key)]
    return hash_value([*values, data_sha256, start_sha256, *changed])


def make_setup(job: TrainingJob) -> TrainingSetup:
    """What the task must know besides the configuration."""
    settings = job.settings
    return TrainingSetup(
        annotations=job.layout.annotations("train"),
        length=TrainingLength(steps=job.config.trainer.train_steps, max_minutes=settings.max_minutes),
        average_follows_clock=settings.ema_decay == "auto",
        # Quantization-aware training has layers of its own around the convolutions.
        bfloat16_gradients=settings.bfloat16_math and MAKERS[job.variant] != "qat" and has_bfloat16(),
    )
