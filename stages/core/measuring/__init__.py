"""Numbers: accuracy, parity, agreement, latency, memory. Values in, values out."""
