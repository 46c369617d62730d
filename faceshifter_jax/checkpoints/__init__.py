"""Checkpoints of a training run: written, found, checked and read back."""
