"""Configs for the Object Detection API, as people have them: short, and of our own making."""

SSD = """# A detector of two kinds of nut.
model {
  ssd {
    num_classes: 2
    image_resizer { fixed_shape_resizer { height: 300 width: 320 } }
    feature_extractor { type: 'ssd_mobiledet_dsp' conv_hyperparams { regularizer { l2_regularizer { weight: 4e-5 } } } }
    anchor_generator { ssd_anchor_generator { min_scale: 0.15 aspect_ratios: [1.0, 2.0, 0.5] } }
    box_coder { faster_rcnn_box_coder { } }
    loss {
      classification_loss { weighted_sigmoid_focal { alpha: 0.75 gamma: 2.0 } }
      localization_loss { weighted_smooth_l1 { } }
    }
    normalize_loc_loss_by_codesize: true
    post_processing {
      batch_non_max_suppression { score_threshold: 1e-8 max_total_detections: 50 }
      score_converter: SIGMOID
    }
  }
}
train_config {
  batch_size: 16
  num_steps: 5000  # a night
  optimizer {
    momentum_optimizer {
      learning_rate {
        cosine_decay_learning_rate {
          learning_rate_base: 0.08 total_steps: 5000 warmup_learning_rate: 0.02 warmup_steps: 500
        }
      }
      momentum_optimizer_value: 0.95
    }
    use_moving_average: false
  }
  fine_tune_checkpoint: "weights/ckpt-0"
  fine_tune_checkpoint_type: "detection"
  data_augmentation_options { random_horizontal_flip { } }
  data_augmentation_options { ssd_random_crop { } }
  data_augmentation_options { random_rgb_to_gray { } }
}
train_input_reader {
  label_map_path: "PATH_TO_BE_CONFIGURED/label_map.pbtxt"
  tf_record_input_reader { input_path: "PATH_TO_BE_CONFIGURED/train.record" }
}
graph_rewriter { quantization { delay: 4000 weight_bits: 8 activation_bits: 8 } }
"""

MASK_RCNN = """model {
  faster_rcnn {
    num_classes: 1
    number_of_stages: 3
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 600 max_dimension: 1000 } }
    feature_extractor { type: "faster_rcnn_resnet50" }
    first_stage_anchor_generator {
      grid_anchor_generator { scales: [0.25, 0.5, 1.0, 2.0] aspect_ratios: [0.5, 1.0, 2.0] }
    }
    first_stage_max_proposals: 150
    second_stage_box_predictor { mask_rcnn_box_predictor { predict_instance_masks: true } }
    second_stage_post_processing {
      batch_non_max_suppression { iou_threshold: 0.55 max_total_detections: 500 }
      score_converter: SOFTMAX
    }
  }
}
train_config {
  batch_size: 2
  num_steps: 9000
  gradient_clipping_by_norm: 5.0
  optimizer {
    momentum_optimizer {
      learning_rate {
        manual_step_learning_rate {
          initial_learning_rate: 0.003
          schedule { step: 6000 learning_rate: 3e-4 }
          schedule { step: 8000 learning_rate: 3e-5 }
        }
      }
    }
  }
}
"""

LEARNING_RATES = {
    "constant": "constant_learning_rate { learning_rate: 0.01 }",
    "cosine": """cosine_decay_learning_rate {
        learning_rate_base: 0.1 total_steps: 1000 warmup_learning_rate: 0.01 warmup_steps: 100 }""",
    "cosine_without_warmup": """cosine_decay_learning_rate {
        learning_rate_base: 0.1 total_steps: 1000 warmup_steps: 0 }""",
    "exponential": """exponential_decay_learning_rate {
        initial_learning_rate: 0.04 decay_steps: 300 decay_factor: 0.9 }""",
    "exponential_smooth": """exponential_decay_learning_rate {
        initial_learning_rate: 0.04 decay_steps: 300 decay_factor: 0.9 staircase: false }""",
    "steps": """manual_step_learning_rate { initial_learning_rate: 0.1
        schedule { step: 400 learning_rate: 0.01 } schedule { step: 800 learning_rate: 0.001 } }""",
    "steps_after_warmup": """manual_step_learning_rate { initial_learning_rate: 0.001 warmup: true
        schedule { step: 100 learning_rate: 0.1 } schedule { step: 800 learning_rate: 0.01 } }""",
    "no_steps": "manual_step_learning_rate { initial_learning_rate: 0.1 }",
}
OPTIMIZERS = {
    "momentum_optimizer": "momentum_optimizer_value: 0.8",
    "rms_prop_optimizer": "momentum_optimizer_value: 0.7 decay: 0.8 epsilon: 0.5",
    "adam_optimizer": "epsilon: 1e-6",
}


def with_optimizer(learning_rate: str, optimizer: str = "momentum_optimizer") -> str:
    """`SSD` with another optimizer and learning rate, and a training of 1,000 steps in float."""
    head, rest = SSD.split("  optimizer {")
    tail = rest[rest.index("    use_moving_average") :]
    body = f"    {optimizer} {{ learning_rate {{ {LEARNING_RATES[learning_rate]} }} {OPTIMIZERS[optimizer]} }}\n"
    text = f"{head.replace('num_steps: 5000', 'num_steps: 1000')}  optimizer {{\n{body}{tail}"
    return text[: text.index("graph_rewriter")]
