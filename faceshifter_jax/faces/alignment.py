"""Aligning a face to where the networks expect it, and mapping it back."""

from dataclasses import dataclass

import numpy as np

from faceshifter_jax.faces.warp import invert, map_points, to_uint8, warp

_ARCFACE_SIZE = 112
_ARCFACE_TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
_CROP_SHARE = 0.85


def template_landmarks(size: int) -> np.ndarray:
    """Returns where the five landmarks of an aligned picture belong.

    Args:
      size: side of the picture in pixels; its middle 85 % are the ArcFace crop.

    Returns:
      (5, 2) float64, points in the order of `Face.landmarks`.
    """
    margin = (1 - _CROP_SHARE) / 2
    return (_ARCFACE_TEMPLATE / _ARCFACE_SIZE * _CROP_SHARE + margin) * size


@dataclass(frozen=True, eq=False)
class Alignment:
    """The similarity transform between a picture and an aligned square.

    Attributes:
      matrix: (2, 3) float64; takes points (x, y, 1) of the picture to the square's.
      size: side of the square in pixels.
    """

    matrix: np.ndarray
    size: int

    @property
    def inverse(self) -> np.ndarray:
        """(2, 3) float64; takes points of the square to the picture's."""
        return invert(self.matrix)

    def to_aligned(self, points: np.ndarray) -> np.ndarray:
        """Maps points (N, 2) of the picture to the square."""
        return map_points(self.matrix, points)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Maps points (N, 2) of the square to the picture."""
        return map_points(self.inverse, points)

    def cut_out(self, picture: np.ndarray) -> np.ndarray:
        """Resamples the square from the picture.

        Where the square reaches over the picture's edge, the edge is continued.

        Args:
          picture: uint8 (H, W, 3).

        Returns:
          uint8 (size, size, 3).
        """
        return to_uint8(warp(picture, self.matrix, (self.size, self.size)))


def find_alignment(landmarks: np.ndarray, size: int) -> Alignment:
    """Finds the similarity that brings landmarks nearest to the template (Umeyama, 1991).

    In the plane, with points as complex numbers, a similarity without reflection is
    z -> a z + b, and the least squares are linear.

    Args:
      landmarks: (5, 2) points in the picture, in the order of `Face.landmarks`.
      size: side of the aligned square in pixels.

    Raises:
      ValueError: the landmarks are one point.
    """
    found = np.asarray(landmarks, np.float64) @ (1, 1j)
    wanted = template_landmarks(size) @ (1, 1j)
    spread = found - found.mean()
    if not np.any(spread):
        raise ValueError("five equal landmarks have no direction and no size")
    a = np.vdot(spread, wanted - wanted.mean()) / np.vdot(spread, spread)
    b = wanted.mean() - a * found.mean()
    return Alignment(np.array([(a.real, -a.imag, b.real), (a.imag, a.real, b.imag)]), size)


def face_size(landmarks: np.ndarray) -> float:
    """Returns how large a face is by its landmarks (5, 2): the side in pixels of its square."""
    matrix = find_alignment(landmarks, 1).matrix
    return 1 / float(np.hypot(matrix[0, 0], matrix[1, 0]))


def misfit(landmarks: np.ndarray) -> float:
    """Returns how far landmarks (5, 2) are from those of a face however it is turned in the plane.

    0 for those of the template, about 0.3 for a half profile, 0.6 for a profile, and 1 where left
    and right are exchanged: root mean square distances after the alignment, as a share of those
    of the template's points from their middle.
    """
    found = find_alignment(landmarks, 1).to_aligned(np.asarray(landmarks, np.float64))
    wanted = template_landmarks(1)
    return float(np.sqrt(((found - wanted) ** 2).sum() / ((wanted - wanted.mean(0)) ** 2).sum()))


def align(picture: np.ndarray, landmarks: np.ndarray, size: int = 256) -> np.ndarray:
    """Cuts an aligned square out of a picture.

    Args:
      picture: uint8 (H, W, 3).
      landmarks: (5, 2) points in the picture, in the order of `Face.landmarks`.
      size: side of the square in pixels.

    Returns:
      uint8 (size, size, 3); the ArcFace crop is its middle 85 %.
    """
    return find_alignment(landmarks, size).cut_out(picture)
