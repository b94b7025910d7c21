"""Accuracy of a converted file: COCO AP, parity and agreement with the float model."""
