"""Readers of labelled images, and what `prepare` makes of them."""
