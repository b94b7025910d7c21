"""Weights to start from: where published checkpoints come from, which kinds there are, what of them goes where."""
