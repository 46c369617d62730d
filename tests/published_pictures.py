"""Pictures and landmarks that anyone can make, and crops of them by plain arithmetic.

What is computed here is independent of the package: exact bilinear interpolation in float64, by
the formulas of the projects that published the generators.
"""

import numpy as np

from faceshifter_jax.faces.face import Face

SOURCE = np.array([(110, 120), (180, 126), (150, 165), (115, 200), (170, 205)], np.float32)
TARGET = np.array([(128, 118), (171, 114), (186, 152), (131, 196), (172, 195)], np.float32)
# The third and the fourth of InsightFace 0.2's five poses, for 112 pixels.
AHEAD = [(39.73, 51.138), (72.27, 51.138), (56.0, 68.493), (42.463, 87.01), (69.537, 87.01)]
RIGHT = [(46.845, 50.872), (67.382, 50.118), (72.737, 68.111), (48.167, 86.758), (67.236, 86.19)]
ARCFACE = [
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
]


def picture(k: int) -> np.ndarray:
    """uint8 (300, 320, 3); 0 is the source, 1 the target."""
    y, x, c = np.mgrid[:300, :320, :3]
    return np.round(127.5 + 100 * np.sin((x * (c + 1) + 2 * y) / 23 + c + k)).astype(np.uint8)


class KnownLandmarks:
    """A detector that knows the pictures."""

    def detect(self, pixels: np.ndarray) -> list[Face]:
        is_source = np.array_equal(pixels, picture(0))
        box = np.array([90, 80, 200, 230], np.float32)
        return [Face(SOURCE if is_source else TARGET, box, 1.0)]


def similarity(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(2, 3), least squares by numpy's solver, in unknowns a, b, tx, ty."""
    rows, values = [], []
    for (x, y), (u, v) in zip(np.asarray(found, float), np.asarray(wanted, float), strict=True):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        values += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([(a, -b, tx), (b, a, ty)])


def inverted(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


def warped(pixels: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """By pixel indices, bilinear, rounded, 0 outside: float64 (size, size, 3)."""
    inverse = inverted(matrix)
    v, u = np.mgrid[:size, :size]
    x, y = (inverse[i, 0] * u + inverse[i, 1] * v + inverse[i, 2] for i in range(2))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    padded = np.pad(pixels.astype(float), ((1, 1), (1, 1), (0, 0)))
    result = 0.0
    for i in range(2):
        for j in range(2):
            weight = np.abs(1 - i - (y - top)) * np.abs(1 - j - (x - left))
            row = np.clip(top + i + 1, 0, len(padded) - 1)
            column = np.clip(left + j + 1, 0, padded.shape[1] - 1)
            result = result + weight[..., None] * padded[row, column]
    return np.round(result)


def resized(pixels: np.ndarray, size: int, *, corners: bool) -> np.ndarray:
    """Bilinear without antialiasing, corners on corners or half-pixel centres: float64."""
    old = len(pixels)
    if corners:
        place = np.arange(size) * (old - 1) / (size - 1)
    else:
        place = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(place.astype(int), old - 2)
    part = (place - low)[:, None, None]
    rows = (1 - part) * pixels[low] + part * pixels[low + 1]
    part = part[:, 0][None]
    return (1 - part) * rows[:, low] + part * rows[:, low + 1]


def ghost_matrix(landmarks: np.ndarray, template: list) -> np.ndarray:
    return similarity(landmarks, 2 * np.array(template))


def taotaonice_matrix(landmarks: np.ndarray, size: int = 256) -> np.ndarray:
    template = ((np.array(ARCFACE) - 56) * 0.85 + 56) * size / 112
    return inverted(similarity(template, landmarks))


def square_matrix(name: str) -> np.ndarray:
    """(2, 3), from pixel indices of the target's photo to those of its square of 256 pixels."""
    if name == "insightface-0.2":
        # Cut at 224 pixels, then resized so that the outermost pixels' edges stay.
        matrix = ghost_matrix(TARGET, RIGHT)
        return np.column_stack([matrix[:, :2], matrix[:, 2] + 0.5 - 0.5 * 224 / 256]) * (256 / 224)
    if name == "taotaonice":
        return taotaonice_matrix(TARGET)
    if name == "arcface-tight":
        return similarity(TARGET, np.array(ARCFACE) * 256 / 112)
    if name == "ffhq":
        return _ffhq_matrix(TARGET)
    # Fitted to landmarks as points: the first pixel's centre is at a half.
    matrix = similarity(TARGET, ((np.array(ARCFACE) - 56) * 0.85 + 56) * 256 / 112)
    return np.column_stack([matrix[:, :2], matrix[:, :2] @ (0.5, 0.5) + matrix[:, 2] - 0.5])


def _ffhq_matrix(landmarks: np.ndarray) -> np.ndarray:
    """By FFHQ's formulas, of 68 landmarks' middles of eyes and mouth, from five."""
    left, right, _, *corners = landmarks.astype(float)
    eyes, mouth = (left + right) / 2, (corners[0] + corners[1]) / 2
    x = right - left - np.array([-1, 1]) * (mouth - eyes)[::-1]
    x *= max(2 * np.hypot(*(right - left)), 1.8 * np.hypot(*(mouth - eyes))) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    first = eyes + 0.1 * (mouth - eyes) - x - y
    return inverted(np.column_stack([x / 128, y / 128, first + (x + y) / 256]))
