"""Running the whole pipeline, and publishing DVC experiments."""
