"""The static deployment graph and the float reference outputs."""
