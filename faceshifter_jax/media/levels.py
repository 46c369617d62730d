"""From computed numbers to pixels."""

import numpy as np


def to_uint8(values: np.ndarray, black: float = 0.0, white: float = 255.0) -> np.ndarray:
    """Rounds numbers between `black` and `white` to uint8; those outside are clipped."""
    return np.round((np.clip(values, black, white) - black) * (255 / (white - black))).astype(
        np.uint8
    )
