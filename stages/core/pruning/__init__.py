"""Magnitude pruning: which kernels, masks and schedules."""
