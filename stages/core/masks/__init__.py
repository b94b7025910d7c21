"""Masks between their forms: polygons, run-length codes, arrays, and what a model predicts inside a box."""
