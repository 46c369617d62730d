"""How good a checkpoint swaps: metrics, the ground truth of embedded faces, a report."""
