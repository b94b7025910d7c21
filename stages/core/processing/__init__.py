"""Pixels to an input tensor and output tensors to detections, as `interface.json` states it."""
