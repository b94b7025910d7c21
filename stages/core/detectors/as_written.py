"""Python that runs as written while TensorFlow traces it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

as_written: Callable[[Callable[..., Any]], Callable[..., Any]] = tf.autograph.experimental.do_not_convert
"""Traces a function without AutoGraph, whose conversion of Model Garden's source is a third of a short training.

A Python `if` on a tensor is then an error when the function is traced, never ignored.
"""
