"""The detectors: a table of names, and builders on Model Garden's components."""
