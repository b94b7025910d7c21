"""What a model file holds, whoever made it: read from its bytes, nothing in it is run."""
