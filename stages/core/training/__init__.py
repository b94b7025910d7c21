"""Fitting a detector with Model Garden's Orbit trainer."""
