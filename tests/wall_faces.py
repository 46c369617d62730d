"""Rendered faces before a plain wall, and a quick detector that finds them there."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from faceshifter_jax.faces.face import Face
from faceshifter_jax.synthetic import render_layers, sample_attributes, sample_identity

WALL = (20, 150, 60)
SIDE = 128


def face_square(seed: int, side: int = SIDE) -> np.ndarray:
    """A rendered person, uint8 (side, side, 3)."""
    return _layers(seed, side).image


def _layers(seed: int, side: int):
    return render_layers(sample_identity(seed), sample_attributes(seed + 50, occluder="none"), side)


def scene(
    faces: Sequence[tuple[np.ndarray, int, int]], size: tuple[int, int] = (320, 192), wall=WALL
) -> np.ndarray:
    """Squares at (left, top) before the wall, cut off at its edges: uint8 (height, width, 3)."""
    picture = np.full((size[1], size[0], 3), wall, np.uint8)
    for square, left, top in faces:
        place = picture[top : top + len(square), left : left + len(square)]
        place[:] = square[: place.shape[0], : place.shape[1]]
    return picture


class WallDetector:
    """Finds squares before the wall; all have the landmarks of the person of seed 1."""

    def __init__(self):
        self.landmarks = _layers(1, SIDE).landmarks
        self.calls = 0

    def detect(self, picture: np.ndarray) -> list[Face]:
        self.calls += 1
        differs = np.abs(picture.astype(int) - WALL).max(-1) > 40
        labels, _ = ndimage.label(ndimage.binary_closing(differs, iterations=3))
        faces = []
        for rows, columns in ndimage.find_objects(labels):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            if min(height, width) >= 24:
                scale = np.array([width, height]) / SIDE
                corner = np.array([columns.start, rows.start])
                box = np.array([*corner, columns.stop, rows.stop], np.float32)
                points = (self.landmarks * scale + corner).astype(np.float32)
                faces.append(Face(points, box, 0.99))
        return faces
