"""Weights that others published, as networks of ours."""
