"""Defaults of a swap, known without loading anything."""

DEFAULT_THRESHOLD = 0.5
"""Cosine from which two faces count as one person. A converted MobileFaceNet gave pictures of
one person 0.61 to 0.84, and those of different people 0.43 at the most of 351 pairs."""

DEFAULT_CRF = 18
"""x264's quality: hardly to be told from the original; 6 more make half the bytes."""
