"""Where a converted file parts from the float graph, layer by layer."""
