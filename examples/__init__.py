"""Parameter sets to run beside the project's own, each in a folder of its own below runs/."""
