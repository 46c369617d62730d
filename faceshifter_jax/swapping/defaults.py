"""Defaults and limits of a swap, known without loading anything."""

from faceshifter_jax.errors import UserError

DEFAULT_THRESHOLD = 0.5
"""Cosine from which two faces count as one person. A converted MobileFaceNet gave pictures of
one person 0.61 to 0.84, and those of different people 0.43 at the most of 351 pairs."""

MASKS = ("ellipse", "hull")
"""What of a face is replaced: an ellipse, or what the face mesh covers."""
DEFAULT_MASK = MASKS[0]
DEFAULT_CRF = 18
"""x264's quality: hardly to be told from the original; 6 more make half the bytes."""


def check_strength(strength: float) -> None:
    """Raises UserError unless a swap can have that strength, see `Swapper.swap`."""
    if not 0 <= strength <= 1:
        raise UserError(f"--strength must lie between 0 and 1, got {strength:g}")
