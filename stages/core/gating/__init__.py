"""The verdict on a row of the results table."""
