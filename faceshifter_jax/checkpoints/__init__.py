"""Checkpoints of a training: written, found, checked and read back."""
