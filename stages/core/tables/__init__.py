"""The tables of detectors and schemes: rows that the other packages look things up in. Importing them costs nothing."""
