"""Why fields of the API are not honoured: what decides in their place."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

BUILT_IN = "the architecture is the row's"
MATCHING = "matching, sampling and class targets are the row's"
MACHINE = "the machine decides: processes, queues and memory"
EVALUATION = "evaluation is `validate`: COCO AP on the whole split, every `validation_interval` steps in training"
UNKNOWN = "no counterpart here"

REASONS: Sequence[tuple[str, str]] = (
    ("model.*anchor_generator.*", "anchors are a pyramid's: each level twice as coarse as the one before"),
    ("model.*image_resizer.*", "images are RGB and resized bilinearly"),
    ("model.*post_processing.batch_non_max_suppression.*", "suppression is class by class in one static graph"),
    ("model.*post_processing.*", "scores are not calibrated afterwards"),
    (
        "model.faster_rcnn.*_loss_weight",
        "the terms are averaged in another way here, so that a factor would mean another",
    ),
    (
        "model.faster_rcnn.second_stage_box_predictor.*.mask_*",
        "mask heads are the row's; train.regions has the size of masks",
    ),
    ("model.*.loss.*", "losses are those of `train.losses`, and have no such parameter"),
    ("model.*hard_example_miner.*", "hard examples are not mined: losses are focal, or sampled by Model Garden"),
    ("model.*matcher*", MATCHING),
    ("model.*similarity_calculator*", MATCHING),
    ("model.*encode_background_as_zeros", MATCHING),
    ("model.*normalize_loss_by_num_matches", "losses are always divided by the number of matched anchors"),
    ("model.*static*", "graphs are static"),
    ("model.*hyperparams.batch_norm.*", "batch norm is the row's: momentum for short trainings, epsilon as published"),
    ("model.*batchnorm*", "batch norm is always trained"),
    ("model.*hyperparams.initializer.*", "weights start as Model Garden starts them"),
    ("model.*hyperparams.regularizer.*", "one weight decay for the whole model: weight_decay"),
    ("model.*first_stage_nms_score_threshold", "regions are the best by score, without a threshold"),
    ("model.*use_*", BUILT_IN),
    ("model.*resize_masks", "masks are pasted into the image by the application"),
    ("model.*", BUILT_IN),
    ("train_config.data_augmentation_options*", "no augmentation of this kind: docs/training.md lists those there are"),
    ("train_config.optimizer.*", "optimizers and schedules here have no such parameter"),
    ("train_config.fine_tune_checkpoint*", "init_modules decides what is loaded"),
    ("train_config.from_detection_checkpoint", "init_modules decides what is loaded"),
    ("train_config.load_all_detection_checkpoint_vars", "init_modules decides what is loaded"),
    ("train_config.freeze_variables", "freeze_backbone freezes the backbone, nothing freezes by name"),
    ("train_config.update_trainable_variables", "freeze_backbone freezes the backbone, nothing freezes by name"),
    ("train_config.bias_grad_multiplier", "all variables have the same learning rate"),
    ("train_config.keep_checkpoint_every_n_hours", "checkpoint_interval counts steps; the best weights are kept"),
    ("train_config.num_steps", "no number of steps"),
    ("train_config.use_bfloat16", "bfloat16_math decides"),
    ("train_config.*", MACHINE),
    ("*_input_reader.*input_path", "put the records below prepare.path, and name train and val in prepare.annotations"),
    ("*_input_reader.label_map_path", "classes are those that `prepare` finds; it writes a label map of its own"),
    ("*_input_reader.load_instance_masks", "the row decides: rows with masks read them"),
    ("*_input_reader.mask_type", "`prepare` sees which of the two the records hold, and writes PNG"),
    ("*_input_reader.*", MACHINE),
    ("eval_config.use_moving_averages", "the moving average is evaluated wherever there is one"),
    ("eval_config.*", EVALUATION),
    ("graph_rewriter.quantization.*_bits", "schemes decide on bits: qat_int8 has 8"),
    ("graph_rewriter.quantization.symmetric", "weights are symmetric, activations are not"),
)
"""Pattern of a field's path to the reason; the first that fits counts."""


def reason_for(path: str) -> str:
    """Why the field at a path is not honoured, whatever its value."""
    return next((reason for pattern, reason in REASONS if fnmatchcase(path, pattern)), UNKNOWN)
