"""FaceShifter (arXiv 1912.13457) in JAX: train, evaluate and run AEI-Net and HEAR-Net."""

__version__ = "0.1.0"
