"""Ops that a runtime lacks, replaced in somebody else's graph by builtin ops that compute the same."""
