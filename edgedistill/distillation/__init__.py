"""MLFS: stages, sampling, losses, the training loop."""
