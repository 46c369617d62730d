"""Measuring how well a checkpoint swaps: metrics, the ground truth of embedded faces, reports."""
