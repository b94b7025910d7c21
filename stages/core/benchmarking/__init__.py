"""What a converted file costs: latency, start-up, memory, size."""
