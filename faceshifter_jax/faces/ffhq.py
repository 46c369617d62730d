"""The square that FFHQ's pictures show (Karras et al., arXiv 1812.04948), from five landmarks.

FFHQ places it by the middles of the eyes and of the mouth's corners, which five landmarks have as
well as the 68 that it was made with. It is cut as FFHQ's own preparation cuts it, of which
maum-ai/faceshifter and others use a copy: large faces are shrunk first, what lies beyond the
photograph is mirrored and blurred, and the square is antialiased.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from faceshifter_jax.media.levels import to_uint8

# Times the side of the result that is sampled before it is shrunk. FFHQ samples 4096 pixels, which
# differs by 0.1 grey levels and takes ten times as long.
_OVERSAMPLING = 4
_LEAST_BORDER, _BORDER = 3, 0.1
_PADDING, _BLUR = 0.3, 0.02


def ffhq_axes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places the square.

    Args:
      landmarks: (5, 2), in the order of `Face.landmarks`.

    Returns:
      its centre, and half of its side along its rows and along its columns, each (2,) float64.

    Raises:
      ValueError: the middles of the eyes and of the mouth are one point, as are the eyes.
    """
    eye_left, eye_right, _, mouth_left, mouth_right = np.asarray(landmarks, np.float64)
    eyes, mouth = (eye_left + eye_right) / 2, (mouth_left + mouth_right) / 2
    between, down = eye_right - eye_left, mouth - eyes
    if not (between.any() or down.any()):
        raise ValueError("eyes and mouth in one point have no direction and no size")
    across = between + np.array([down[1], -down[0]])
    if not across.any():
        # A face upside down, as wide as it is high: either direction is as good.
        across = between
    across /= np.hypot(*across)
    across *= max(2.0 * np.hypot(*between), 1.8 * np.hypot(*down))
    return eyes + 0.1 * down, across, np.array([-across[1], across[0]])


def cut_ffhq(picture: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Cuts the square out.

    Args:
      picture: uint8 (H, W, 3).
      corners: (4, 2) pixel indices of its corners: top left, bottom left, bottom right, top right.
      size: side of the result in pixels.

    Returns:
      uint8 (size, size, 3).
    """
    photo, corners = Image.fromarray(picture), np.array(corners, np.float64)
    side = float(np.hypot(*(corners[3] - corners[0])))
    shrink = int(side / size * 0.5)
    if shrink > 1:
        smaller = [max(1, round(length / shrink)) for length in photo.size]
        photo = photo.resize(smaller, Image.Resampling.LANCZOS)
        corners, side = corners / shrink, side / shrink
    border = max(round(side * _BORDER), _LEAST_BORDER)
    photo, corners = _crop(photo, corners, border)
    photo, corners = _pad(photo, corners, border, side)
    large = _OVERSAMPLING * size
    square = photo.transform(
        (large, large),
        Image.Transform.QUAD,
        (corners + 0.5).reshape(-1).tolist(),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _crop(photo: Image.Image, corners: np.ndarray, border: int) -> tuple[Image.Image, np.ndarray]:
    """Leaves away what is far from the square; at least a pixel stays."""
    limits = np.array(photo.size)
    start = np.clip(np.floor(corners.min(0)).astype(int) - border, 0, limits - 1)
    stop = np.clip(np.ceil(corners.max(0)).astype(int) + border, start + 1, limits)
    return photo.crop((*start.tolist(), *stop.tolist())), corners - start


def _pad(
    photo: Image.Image, corners: np.ndarray, border: int, side: float
) -> tuple[Image.Image, np.ndarray]:
    """Continues a photograph that the square reaches over: mirrored, then blurred into its median.

    The blur grows outwards, so that nothing mirrored can be made out.
    """
    before = np.maximum(border - np.floor(corners.min(0)), 0).astype(int)
    after = np.maximum(np.ceil(corners.max(0)) - photo.size + border, 0).astype(int)
    if max(*before, *after) <= border - 4:
        return photo, corners
    least = round(side * _PADDING)
    (left, top), (right, bottom) = np.maximum(before, least), np.maximum(after, least)
    pixels = np.asarray(photo, np.float32)
    pixels = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = pixels.shape[:2]
    y, x = np.ogrid[:height, :width]
    inside_x = np.minimum(x / max(left, 1), (width - 1 - x) / max(right, 1))
    inside_y = np.minimum(y / max(top, 1), (height - 1 - y) / max(bottom, 1))
    outside = np.maximum(1 - inside_x, 1 - inside_y)[..., None].astype(np.float32)
    blurred = ndimage.gaussian_filter(pixels, (_BLUR * side, _BLUR * side, 0))
    pixels += (blurred - pixels) * np.clip(3 * outside + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(outside, 0, 1)
    return Image.fromarray(to_uint8(pixels)), corners + np.array([left, top])
