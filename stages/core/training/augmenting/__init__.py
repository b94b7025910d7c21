"""Training augmentations as TensorFlow graph ops on what Model Garden's decoder gives."""
