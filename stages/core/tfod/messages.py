"""THE TABLE of the API's messages that a `pipeline.config` is made of and that the import looks into.

Source: `object_detection/protos/*.proto`, up to the API's last release (2.x).
"""

from collections.abc import Mapping
from types import MappingProxyType

TOP = "TrainEvalPipelineConfig"
MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "TrainEvalPipelineConfig": (
            "model:DetectionModel train_config:TrainConfig train_input_reader:InputReader eval_config:EvalConfig "
            "*eval_input_reader:InputReader graph_rewriter:GraphRewriter"
        ),
        "DetectionModel": "faster_rcnn:FasterRcnn ssd:Ssd experimental_model center_net",
        "Ssd": (
            "num_classes image_resizer:ImageResizer feature_extractor:SsdFeatureExtractor box_coder:BoxCoder "
            "matcher:Matcher similarity_calculator encode_background_as_zeros negative_class_weight "
            "box_predictor:BoxPredictor anchor_generator:AnchorGenerator post_processing:PostProcessing "
            "normalize_loss_by_num_matches normalize_loc_loss_by_codesize loss:Loss freeze_batchnorm "
            "inplace_batchnorm_update add_background_class explicit_background_class use_confidences_as_targets "
            "implicit_example_weight return_raw_detections_during_predict mask_head_config"
        ),
        "FasterRcnn": (
            "number_of_stages num_classes image_resizer:ImageResizer feature_extractor:FasterRcnnFeatureExtractor "
            "first_stage_anchor_generator:AnchorGenerator first_stage_atrous_rate "
            "first_stage_box_predictor_conv_hyperparams:Hyperparams first_stage_box_predictor_kernel_size "
            "first_stage_box_predictor_depth first_stage_minibatch_size first_stage_positive_balance_fraction "
            "first_stage_nms_score_threshold first_stage_nms_iou_threshold first_stage_max_proposals "
            "first_stage_localization_loss_weight first_stage_objectness_loss_weight initial_crop_size "
            "maxpool_kernel_size maxpool_stride second_stage_box_predictor:BoxPredictor second_stage_batch_size "
            "second_stage_balance_fraction second_stage_post_processing:PostProcessing "
            "second_stage_localization_loss_weight second_stage_classification_loss_weight "
            "second_stage_mask_prediction_loss_weight hard_example_miner "
            "second_stage_classification_loss:ClassificationLoss inplace_batchnorm_update "
            "use_matmul_crop_and_resize clip_anchors_to_image use_matmul_gather_in_matcher "
            "use_static_balanced_label_sampler use_static_shapes resize_masks use_static_shapes_for_eval "
            "use_partitioned_nms_in_first_stage return_raw_detections_during_predict "
            "use_combined_nms_in_first_stage output_final_box_features output_final_box_rpn_features "
            "context_config"
        ),
        "TrainConfig": (
            "batch_size *data_augmentation_options:PreprocessingStep sync_replicas keep_checkpoint_every_n_hours "
            "optimizer:Optimizer gradient_clipping_by_norm fine_tune_checkpoint fine_tune_checkpoint_type "
            "fine_tune_checkpoint_version from_detection_checkpoint load_all_detection_checkpoint_vars "
            "run_fine_tune_checkpoint_dummy_computation num_steps startup_delay_steps bias_grad_multiplier "
            "*update_trainable_variables *freeze_variables replicas_to_aggregate batch_queue_capacity "
            "num_batch_queue_threads prefetch_queue_capacity merge_multiple_label_boxes use_multiclass_scores "
            "add_regularization_loss max_number_of_boxes unpad_groundtruth_tensors retain_original_images "
            "use_bfloat16 summarize_gradients"
        ),
        "EvalConfig": (
            "batch_size num_visualizations num_examples eval_interval_secs max_evals save_graph "
            "visualization_export_dir eval_master *metrics_set *parameterized_metric export_path "
            "ignore_groundtruth use_moving_averages eval_instance_masks min_score_threshold "
            "max_num_boxes_to_visualize skip_scores skip_labels visualize_groundtruth_boxes "
            "groundtruth_box_visualization_color keep_image_id_for_visualization_export retain_original_images "
            "include_metrics_per_category all_metrics_per_category *super_categories recall_lower_bound "
            "recall_upper_bound retain_original_image_additional_channels force_no_resize use_dummy_loss_in_eval "
            "*keypoint_edge skip_predictions_for_unlabeled_class image_classes_field_map_empty_to_ones"
        ),
        "InputReader": (
            "name label_map_path shuffle shuffle_buffer_size filenames_shuffle_buffer_size num_epochs "
            "sample_1_of_n_examples num_readers num_parallel_batches num_prefetch_batches queue_capacity "
            "min_after_dequeue read_block_length prefetch_size num_parallel_map_calls drop_remainder "
            "num_additional_channels num_keypoints *keypoint_type_weight max_number_of_boxes "
            "load_multiclass_scores load_context_features load_context_image_ids load_instance_masks mask_type "
            "load_dense_pose load_track_id load_keypoint_depth_features use_display_name include_source_id "
            "input_type frame_index use_keypoint_label_map tf_record_input_reader:TFRecordInputReader "
            "external_input_reader *sample_from_datasets_weights expand_labels_hierarchy"
        ),
        "TFRecordInputReader": "*input_path",
        "GraphRewriter": "quantization:Quantization",
        "Quantization": "delay weight_bits activation_bits symmetric",
        "ImageResizer": (
            "keep_aspect_ratio_resizer:KeepAspectRatioResizer fixed_shape_resizer:FixedShapeResizer "
            "identity_resizer conditional_shape_resizer pad_to_multiple_resizer"
        ),
        "FixedShapeResizer": "height width resize_method convert_to_grayscale",
        "KeepAspectRatioResizer": (
            "min_dimension max_dimension resize_method pad_to_max_dimension convert_to_grayscale *per_channel_pad_value"
        ),
        "AnchorGenerator": (
            "grid_anchor_generator:GridAnchorGenerator ssd_anchor_generator:SsdAnchorGenerator "
            "multiscale_anchor_generator:MultiscaleAnchorGenerator flexible_grid_anchor_generator"
        ),
        "SsdAnchorGenerator": (
            "num_layers min_scale max_scale *scales *aspect_ratios interpolated_scale_aspect_ratio "
            "reduce_boxes_in_lowest_layer base_anchor_height base_anchor_width *height_stride *width_stride "
            "*height_offset *width_offset"
        ),
        "MultiscaleAnchorGenerator": (
            "min_level max_level anchor_scale *aspect_ratios scales_per_octave normalize_coordinates"
        ),
        "GridAnchorGenerator": (
            "height width height_stride width_stride height_offset width_offset *scales *aspect_ratios"
        ),
        "PostProcessing": (
            "batch_non_max_suppression:BatchNonMaxSuppression score_converter logit_scale calibration_config"
        ),
        "BatchNonMaxSuppression": (
            "score_threshold iou_threshold max_detections_per_class max_total_detections use_static_shapes "
            "use_class_agnostic_nms max_classes_per_detection soft_nms_sigma use_partitioned_nms use_combined_nms "
            "change_coordinate_frame use_hard_nms use_cpu_nms"
        ),
        "Optimizer": (
            "rms_prop_optimizer:RMSPropOptimizer momentum_optimizer:MomentumOptimizer "
            "adam_optimizer:AdamOptimizer use_moving_average moving_average_decay"
        ),
        "MomentumOptimizer": "learning_rate:LearningRate momentum_optimizer_value",
        "RMSPropOptimizer": "learning_rate:LearningRate momentum_optimizer_value decay epsilon",
        "AdamOptimizer": "learning_rate:LearningRate epsilon",
        "LearningRate": (
            "constant_learning_rate:ConstantLearningRate "
            "exponential_decay_learning_rate:ExponentialDecayLearningRate "
            "manual_step_learning_rate:ManualStepLearningRate cosine_decay_learning_rate:CosineDecayLearningRate"
        ),
        "ConstantLearningRate": "learning_rate",
        "ExponentialDecayLearningRate": (
            "initial_learning_rate decay_steps decay_factor staircase burnin_learning_rate burnin_steps "
            "min_learning_rate"
        ),
        "ManualStepLearningRate": "initial_learning_rate *schedule:LearningRateSchedule warmup",
        "CosineDecayLearningRate": (
            "learning_rate_base total_steps warmup_learning_rate warmup_steps hold_base_rate_steps"
        ),
        "Loss": (
            "localization_loss:LocalizationLoss classification_loss:ClassificationLoss hard_example_miner "
            "classification_weight localization_weight random_example_sampler equalization_loss "
            "expected_loss_weights min_num_negative_samples desired_negative_sampling_ratio"
        ),
        "ClassificationLoss": (
            "weighted_sigmoid weighted_softmax weighted_logits_softmax bootstrapped_sigmoid "
            "weighted_sigmoid_focal:SigmoidFocalClassificationLoss penalty_reduced_logistic_focal_loss "
            "weighted_dice_classification_loss"
        ),
        "LocalizationLoss": (
            "weighted_l2 weighted_smooth_l1:WeightedSmoothL1LocalizationLoss weighted_iou l1_localization_loss "
            "weighted_giou"
        ),
        "SigmoidFocalClassificationLoss": "anchorwise_output gamma alpha",
        "WeightedSmoothL1LocalizationLoss": "anchorwise_output delta",
        "Matcher": "argmax_matcher:ArgMaxMatcher bipartite_matcher",
        "ArgMaxMatcher": (
            "matched_threshold unmatched_threshold ignore_thresholds negatives_lower_than_unmatched "
            "force_match_for_each_row use_matmul_gather"
        ),
        "BoxCoder": (
            "faster_rcnn_box_coder:FasterRcnnBoxCoder mean_stddev_box_coder square_box_coder keypoint_box_coder"
        ),
        "FasterRcnnBoxCoder": "y_scale x_scale height_scale width_scale",
        "SsdFeatureExtractor": (
            "type depth_multiplier min_depth conv_hyperparams:Hyperparams "
            "override_base_feature_extractor_hyperparams pad_to_multiple use_explicit_padding use_depthwise fpn "
            "bifpn replace_preprocessor_with_placeholder num_layers spaghettinet_arch_name use_hardswish"
        ),
        "FasterRcnnFeatureExtractor": (
            "type first_stage_features_stride batch_norm_trainable conv_hyperparams:Hyperparams "
            "override_base_feature_extractor_hyperparams pad_to_multiple fpn"
        ),
        "Hyperparams": (
            "op regularizer:Regularizer initializer activation batch_norm sync_batch_norm group_norm "
            "regularize_depthwise force_use_bias"
        ),
        "Regularizer": "l1_regularizer l2_regularizer:L2Regularizer",
        "L2Regularizer": "weight",
        "BoxPredictor": (
            "convolutional_box_predictor mask_rcnn_box_predictor:MaskRCNNBoxPredictor rfcn_box_predictor "
            "weight_shared_convolutional_box_predictor"
        ),
        "MaskRCNNBoxPredictor": (
            "fc_hyperparams:Hyperparams use_dropout dropout_keep_probability box_code_size "
            "conv_hyperparams:Hyperparams predict_instance_masks mask_prediction_conv_depth predict_keypoints "
            "mask_height mask_width mask_prediction_num_conv_layers masks_are_class_agnostic "
            "share_box_across_classes convolve_then_upsample_masks"
        ),
        "PreprocessingStep": (
            "normalize_image random_horizontal_flip:RandomHorizontalFlip random_pixel_value_scale "
            "random_image_scale:RandomImageScale random_rgb_to_gray "
            "random_adjust_brightness:RandomAdjustBrightness random_adjust_contrast:RandomAdjustContrast "
            "random_adjust_hue:RandomAdjustHue random_adjust_saturation:RandomAdjustSaturation "
            "random_distort_color:RandomDistortColor random_jitter_boxes random_crop_image:RandomCropImage "
            "random_pad_image random_crop_pad_image random_crop_to_aspect_ratio random_black_patches "
            "random_resize_method scale_boxes_to_pixel_coordinates resize_image subtract_channel_mean "
            "ssd_random_crop ssd_random_crop_pad ssd_random_crop_fixed_aspect_ratio "
            "ssd_random_crop_pad_fixed_aspect_ratio random_vertical_flip random_rotation90 rgb_to_gray "
            "convert_class_logits_to_softmax random_absolute_pad_image random_self_concat_image "
            "autoaugment_image:AutoAugmentImage drop_label_probabilistically remap_labels random_jpeg_quality "
            "random_downscale_to_target_pixels random_patch_gaussian "
            "random_square_crop_by_scale:RandomSquareCropByScale "
            "random_scale_crop_and_pad_to_square:RandomScaleCropAndPadToSquare adjust_gamma"
        ),
        "RandomHorizontalFlip": "*keypoint_flip_permutation probability",
        "RandomImageScale": "min_scale_ratio max_scale_ratio",
        "RandomScaleCropAndPadToSquare": "output_size scale_min scale_max",
        "RandomSquareCropByScale": "max_border scale_min scale_max num_scales",
        "AutoAugmentImage": "policy_name",
        "RandomCropImage": (
            "min_object_covered min_aspect_ratio max_aspect_ratio min_area max_area overlap_thresh clip_boxes "
            "random_coef"
        ),
        "RandomAdjustBrightness": "max_delta",
        "RandomAdjustContrast": "min_delta max_delta",
        "RandomAdjustHue": "max_delta",
        "RandomAdjustSaturation": "min_delta max_delta",
        "RandomDistortColor": "color_ordering",
        "LearningRateSchedule": "step learning_rate",
    }
)
"""Message to its fields: `*` before a repeated one, `:Type` after one whose type is in this table."""
