"""The commands: one module per DVC stage, each thin; what they compute lives in `stages.core`."""
