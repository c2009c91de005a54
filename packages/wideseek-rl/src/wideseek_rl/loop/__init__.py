"""The training loop with its checkpoints, metrics and loggers."""
