"""Where the face lies in an aligned picture, whatever face it is."""

import functools

import numpy as np

# An ellipse, column and row, in shares of the picture's side: from the hairline to the chin, from
# temple to temple.
FACE_MIDDLE = np.array([0.5, 0.56])
FACE_RADII = np.array([0.3, 0.36])


@functools.lru_cache(maxsize=4)
def face_region(size: int) -> np.ndarray:
    """Mask of the face in an aligned picture: bool (size, size), read-only."""
    region = _squared_radius(size) < 1
    region.setflags(write=False)
    return region


def face_weights(size: int) -> np.ndarray:
    """Weights of the face for the pixels of aligned pictures: float32 (size, size).

    1 at the face's middle, from half way on falling linearly to 0 at the rim of `face_region`.
    """
    return np.clip(2 * (1 - np.sqrt(_squared_radius(size))), 0, 1).astype(np.float32)


def _squared_radius(size: int) -> np.ndarray:
    place = (np.arange(size) + 0.5) / size
    across = (place - FACE_MIDDLE[0]) / FACE_RADII[0]
    down = (place - FACE_MIDDLE[1]) / FACE_RADII[1]
    return across[None] ** 2 + down[:, None] ** 2
