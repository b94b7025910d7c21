"""From a deployment graph to a file of one scheme, and the proof that it is what its name says."""
