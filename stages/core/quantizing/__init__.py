"""Quantization-aware training: TFMOT's quantizers around the layers of Model Garden's detectors."""
