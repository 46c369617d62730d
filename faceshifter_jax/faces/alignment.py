"""Aligning a face to where the networks expect it, and mapping it back."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.ffhq import cut_ffhq, ffhq_axes
from faceshifter_jax.faces.opencv_sampling import resize_as_opencv, warp_as_opencv
from faceshifter_jax.faces.warp import invert, map_points, warp
from faceshifter_jax.media.levels import to_uint8

_TEMPLATE_SIZE = 112
_ARCFACE_TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
# Of InsightFace 0.2 (python-package, utils/face_align.py): faces that look to the picture's left,
# somewhat to the left, ahead, somewhat to the right, to the right.
_POSE_TEMPLATES = np.array(
    [
        [(51.642, 50.115), (57.617, 49.99), (35.74, 69.007), (51.157, 89.05), (57.025, 89.702)],
        [(45.031, 50.118), (65.568, 50.872), (39.677, 68.111), (45.177, 86.19), (64.246, 86.758)],
        [(39.73, 51.138), (72.27, 51.138), (56.0, 68.493), (42.463, 87.01), (69.537, 87.01)],
        [(46.845, 50.872), (67.382, 50.118), (72.737, 68.111), (48.167, 86.758), (67.236, 86.19)],
        [(54.796, 49.99), (60.771, 50.115), (76.673, 69.007), (55.388, 89.702), (61.257, 89.05)],
    ]
)
_AHEAD = 2
_CROP_SHARE = 0.85
# Share of an FFHQ square's side between the middles of the eyes and of the mouth, of most faces.
_FFHQ_EYES_TO_MOUTH = 0.256


@dataclass(frozen=True, eq=False)
class AlignmentRule:
    """How five landmarks say which square of a photograph the networks get.

    Attributes:
      name: what settings and network files call it.
      summary: a line for users.
      fit: `fit(landmarks, size)`: (5, 2) points to the matrix (2, 3) of `Alignment`.
      cut: `cut(picture, alignment)`: uint8 (H, W, 3) to the square.
      eyes_to_mouth: share of the square's side from between the eyes to the middle of the mouth of
        a face that looks ahead.
    """

    name: str
    summary: str
    fit: Callable[[np.ndarray, int], np.ndarray]
    cut: Callable[[np.ndarray, "Alignment"], np.ndarray]
    eyes_to_mouth: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """The similarity transform between a picture and an aligned square.

    Attributes:
      matrix: (2, 3) float64; takes points (x, y, 1) of the picture to the square's. The first
        pixel of either has its centre at (0.5, 0.5).
      size: side of the square in pixels.
      rule: where the square is, and how it is sampled.
    """

    matrix: np.ndarray
    size: int
    rule: AlignmentRule = field(default_factory=lambda: ALIGNMENTS["arcface"])

    @property
    def inverse(self) -> np.ndarray:
        """(2, 3) float64; takes points of the square to the picture's."""
        return invert(self.matrix)

    @property
    def index_matrix(self) -> np.ndarray:
        """(2, 3) float64; like `matrix` from pixel indices to pixel indices, as OpenCV has them."""
        return _shift_centre(self.matrix, 0.5)

    def to_aligned(self, points: np.ndarray) -> np.ndarray:
        """Maps points (N, 2) of the picture to the square."""
        return map_points(self.matrix, points)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Maps points (N, 2) of the square to the picture."""
        return map_points(self.inverse, points)

    def cut_out(self, picture: np.ndarray) -> np.ndarray:
        """Samples the square from the picture, uint8 (H, W, 3): uint8 (size, size, 3)."""
        return self.rule.cut(picture, self)

    def resized(self, size: int) -> "Alignment":
        """The same square of another side in pixels."""
        return Alignment(self.matrix * (size / self.size), size, self.rule)


def find_alignment(landmarks: np.ndarray, size: int, name: str = "arcface") -> Alignment:
    """Finds the square of a face.

    Args:
      landmarks: (5, 2) points in the picture, in the order of `Face.landmarks`. Rules of other
        projects take them as those do: as pixel indices.
      size: side of the aligned square in pixels.
      name: a key of `ALIGNMENTS`.

    Raises:
      ValueError: the landmarks are one point.
    """
    if not np.ptp(landmarks, axis=0).any():
        raise ValueError("five equal landmarks have no direction and no size")
    rule = ALIGNMENTS[name]
    return Alignment(rule.fit(np.asarray(landmarks, np.float64), size), size, rule)


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


def align(
    picture: np.ndarray, landmarks: np.ndarray, size: int = 256, name: str = "arcface"
) -> np.ndarray:
    """Cuts an aligned square out of a picture.

    Args:
      picture: uint8 (H, W, 3).
      landmarks, size, name: see `find_alignment`.

    Returns:
      uint8 (size, size, 3).
    """
    return find_alignment(landmarks, size, name).cut_out(picture)


def template_landmarks(size: int) -> np.ndarray:
    """Returns where the five landmarks of a picture aligned by `arcface` belong.

    Args:
      size: side of the picture in pixels; its middle 85 % are the ArcFace crop.

    Returns:
      (5, 2) float64, points in the order of `Face.landmarks`.
    """
    return _widened(_ARCFACE_TEMPLATE) * size


def check_alignment(name: str) -> None:
    """Raises UserError unless there is an alignment of this name."""
    if name not in ALIGNMENTS:
        known = "; ".join(f"{rule.name}: {rule.summary}" for rule in ALIGNMENTS.values())
        raise UserError(f"there is no alignment {name!r}; known are {known}")


def resize_square(square: np.ndarray, size: int) -> np.ndarray:
    """Resizes a square, uint8 (S, S, 3), as published generators resize their crops."""
    return resize_as_opencv(square, size)


def _widened(template: np.ndarray) -> np.ndarray:
    """A template of 112 pixels as shares of a side of which it takes the middle 85 %."""
    return template / _TEMPLATE_SIZE * _CROP_SHARE + (1 - _CROP_SHARE) / 2


def _fit(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that takes points (5, 2) nearest to others (Umeyama, 1991).

    In the plane, with points as complex numbers, a similarity without reflection is
    z -> a z + b, and the least squares are linear.
    """
    found, wanted = found @ (1, 1j), wanted @ (1, 1j)
    spread = found - found.mean()
    a = np.vdot(spread, wanted - wanted.mean()) / np.vdot(spread, spread)
    b = wanted.mean() - a * found.mean()
    return np.array([(a.real, -a.imag, b.real), (a.imag, a.real, b.imag)])


def _shift_centre(matrix: np.ndarray, by: float) -> np.ndarray:
    """A matrix for coordinates in which the first pixel's centre is less by `by`."""
    shift = matrix[:, :2] @ (by, by) + matrix[:, 2] - by
    return np.column_stack([matrix[:, :2], shift])


def _fit_points(landmarks: np.ndarray, size: int) -> np.ndarray:
    return _fit(landmarks, template_landmarks(size))


def _fit_nearest(landmarks: np.ndarray, size: int, templates: np.ndarray) -> np.ndarray:
    """Fits in the square, by pixel indices, to the template to which the distances are least."""
    templates = templates / _TEMPLATE_SIZE * size
    fits = [_fit(landmarks, template) for template in templates]
    errors = [
        np.linalg.norm(map_points(matrix, landmarks) - template, axis=1).sum()
        for matrix, template in zip(fits, templates, strict=True)
    ]
    return _shift_centre(fits[int(np.argmin(errors))], -0.5)


def _fit_in_photo(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Fits the template to the landmarks, by pixel indices, and inverts."""
    return _shift_centre(invert(_fit(_widened(_ARCFACE_TEMPLATE) * size, landmarks)), -0.5)


def _fit_ffhq(landmarks: np.ndarray, size: int) -> np.ndarray:
    centre, across, down = ffhq_axes(landmarks)
    inverse = np.column_stack([2 * across / size, 2 * down / size, centre - across - down + 0.5])
    return invert(inverse)


def _cut_smoothly(picture: np.ndarray, alignment: Alignment) -> np.ndarray:
    """By splines, with antialiasing; where the square reaches over the edge, the edge goes on."""
    return to_uint8(warp(picture, alignment.matrix, (alignment.size, alignment.size)))


def _cut_as_opencv(picture: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Bilinearly and without antialiasing; 0 outside of the picture."""
    return warp_as_opencv(picture, alignment.index_matrix, alignment.size)


def _cut_as_ffhq(picture: np.ndarray, alignment: Alignment) -> np.ndarray:
    size = alignment.size
    corners = np.array([(0, 0), (0, size), (size, size), (size, 0)])
    return cut_ffhq(picture, alignment.to_picture(corners) - 0.5, size)


def _eyes_to_mouth(shares: np.ndarray) -> float:
    return float(np.hypot(*(shares[3:].mean(0) - shares[:2].mean(0))))


_RULES = (
    AlignmentRule(
        "arcface",
        "the ArcFace template in the middle 85 %, antialiased, edges continued",
        _fit_points,
        _cut_smoothly,
        _eyes_to_mouth(_widened(_ARCFACE_TEMPLATE)),
    ),
    AlignmentRule(
        "arcface-tight",
        "the ArcFace template over the whole square, as InsightFace cuts it for identity networks",
        lambda landmarks, size: _fit_nearest(landmarks, size, _ARCFACE_TEMPLATE[None]),
        _cut_as_opencv,
        _eyes_to_mouth(_ARCFACE_TEMPLATE / _TEMPLATE_SIZE),
    ),
    AlignmentRule(
        "insightface-0.2",
        "the best of InsightFace 0.2's five pose templates, black outside of the photo; ghost's",
        lambda landmarks, size: _fit_nearest(landmarks, size, _POSE_TEMPLATES),
        _cut_as_opencv,
        _eyes_to_mouth(_POSE_TEMPLATES[_AHEAD] / _TEMPLATE_SIZE),
    ),
    AlignmentRule(
        "taotaonice",
        "as arcface, but fitted in the photo, bilinear and black outside of it",
        _fit_in_photo,
        _cut_as_opencv,
        _eyes_to_mouth(_widened(_ARCFACE_TEMPLATE)),
    ),
    AlignmentRule(
        "ffhq",
        "FFHQ's square, from the middles of the eyes and of the mouth",
        _fit_ffhq,
        _cut_as_ffhq,
        _FFHQ_EYES_TO_MOUTH,
    ),
)
ALIGNMENTS: dict[str, AlignmentRule] = {rule.name: rule for rule in _RULES}
"""The named alignments."""
