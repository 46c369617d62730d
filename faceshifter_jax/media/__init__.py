"""Photographs, folders, videos and picture grids, as files and as arrays."""
