"""The tables of detectors and schemes: rows that the other rooms look things up in. Importing them costs nothing."""
