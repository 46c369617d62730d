"""Trained networks: as plain data, as files, and as frozen functions of pictures."""
