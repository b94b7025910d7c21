"""The static deployment graph: SavedModel, float32 .tflite and interface."""
