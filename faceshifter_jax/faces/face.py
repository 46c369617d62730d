"""A face in a picture, and the interface of face detectors."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

BRIGHTENED = np.round(255 * np.sqrt(np.arange(256) / 255)).astype(np.uint8)
"""Grey levels with the shadows lifted, by grey level: for faces that are too dark to be found."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face that was found in a picture.

    Attributes:
      landmarks: (5, 2) float32, points in pixels: the eyes, the nose's tip, the corners of the
        mouth; the eye and the corner on the picture's left come before those on its right.
      box: (4,) float32: left, top, right and bottom in pixels; it may reach over the edge.
      score: the detector's confidence in [0, 1].
    """

    landmarks: np.ndarray
    box: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        left, top, right, bottom = self.box.tolist()
        return max(right - left, 0.0) * max(bottom - top, 0.0)


class Detector(Protocol):
    """A face detector."""

    def detect(self, picture: np.ndarray) -> list[Face]:
        """Finds the faces of a picture, uint8 (H, W, 3), RGB; none is an empty list."""
        ...


def shares(box: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """What two boxes (4,) have in common, as shares of their union and of the smaller one."""
    left, top = np.maximum(box[:2], other[:2])
    right, bottom = np.minimum(box[2:], other[2:])
    both = max(right - left, 0.0) * max(bottom - top, 0.0)
    areas = [float(np.prod(b[2:] - b[:2])) for b in (box, other)]
    return both / max(sum(areas) - both, 1e-9), both / max(min(areas), 1e-9)
