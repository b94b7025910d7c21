"""Files of the TF Object Detection API: its text format, `pipeline.config` and label maps."""
