"""Whether a new file takes the place of the one in use, decided on the same images."""
