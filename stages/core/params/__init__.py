"""params.yaml: the border between text and values."""
