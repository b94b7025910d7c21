"""Measurements of a shipped file: AP, parity, agreement, latency, memory, size."""
