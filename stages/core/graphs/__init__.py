"""A model file's bytes as a small graph of tensors and ops, whatever its format."""
