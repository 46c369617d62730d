"""Pasting a swapped face back into its picture without a visible edge."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from faceshifter_jax.faces.alignment import ALIGNMENTS, Alignment
from faceshifter_jax.faces.finder import AlignedFace
from faceshifter_jax.faces.warp import LINEAR, warp
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.swapping.defaults import DEFAULT_MASK
from faceshifter_jax.swapping.hull import hull_mask, smooth_step

# Shares of the aligned square's side.
_FEATHER = 0.10
_EDGE = 0.04
_SEAM_REACH = 0.10
# Outside of the face, the swap is taken where the network changed this many grey levels or more,
# as for another chin or cheek; and as far as an ellipse so much larger.
_OTHER_SHAPE = 28.0
_LARGEST_REACH = 1.22
# Rows of a large picture are pasted in blocks of this many pixels: memory stays small.
_BLOCK_PIXELS = 2**21
# Half axes of the face's ellipse, along and across it, in distances from the eyes to the mouth.
_HALF_HEIGHT, _HALF_WIDTH = 1.36, 1.17
# Of a turned face, less is seen on the side where the nose points: so much less a distance of the
# nose's tip from the middle, but the eye and the corner of the mouth stay covered.
_TURNED, _LEAST_HALF_WIDTH = 2.0, 0.75
# Where its centre lies on the way from the eyes to the mouth.
_CENTRE = 0.26
# Grey levels: where the network changed a pixel by this much, the target's fine detail is gone.
_CHANGED = 16.0
# Larger differences at the seam are of content, such as hair, not of colour.
_LARGEST_SHIFT = 24.0


def face_mask(
    landmarks: np.ndarray, size: int, reach: float = 1.0, aligned_by: str = "arcface"
) -> np.ndarray:
    """Draws the part of an aligned picture that a face covers: brows to chin, soft at its rim.

    Args:
      landmarks: (5, 2) points in the aligned picture, in the order of `Face.landmarks`.
      size: side of the aligned picture in pixels.
      reach: the factor by which the ellipse is larger than the face.
      aligned_by: a key of `ALIGNMENTS`, which says how large the face is that looks ahead.

    Returns:
      (size, size) float32 in [0, 1], 1 inside, falling to 0 at the rim of an ellipse.
    """
    eyes, nose, mouth = _middle_line(landmarks)
    way = float(np.hypot(*(mouth - eyes)))
    axis = (mouth - eyes) / max(way, 1e-6)
    # A face that nods shows less of the way from the eyes to the mouth than it has.
    length = max(way, ALIGNMENTS[aligned_by].eyes_to_mouth * size)
    nose_aside = _across(nose - eyes, axis) / length
    y, x = np.mgrid[:size, :size] + 0.5
    from_centre = np.stack([x, y], -1) - (eyes + _CENTRE * length * axis)
    along, across = from_centre @ axis / length, _across(from_centre, axis) / length
    narrowed = max(_HALF_WIDTH - _TURNED * abs(nose_aside), _LEAST_HALF_WIDTH)
    half_width = np.where(across * nose_aside > 0, narrowed, _HALF_WIDTH)
    radius = np.hypot(along / _HALF_HEIGHT, across / half_width)
    inside = (reach - radius) * _HALF_WIDTH * length
    return smooth_step(inside / (_FEATHER * size)).astype(np.float32)


def swap_mask(
    landmarks: np.ndarray, aligned: np.ndarray, swapped: np.ndarray, aligned_by: str = "arcface"
) -> np.ndarray:
    """Draws the part of an aligned picture that a swap replaces.

    That is the face, and beyond its outline what the network changed much and in one piece with
    the face, such as a wider chin; never more than a somewhat larger ellipse. Inside, `paste`
    keeps what did not change.

    Args:
      landmarks: (5, 2) points in the aligned picture, in the order of `Face.landmarks`.
      aligned: uint8 (S, S, 3), the target.
      swapped: uint8 (S, S, 3), the network's result.
      aligned_by: see `face_mask`.

    Returns:
      (S, S) float32 in [0, 1].
    """
    size = len(aligned)
    face = face_mask(landmarks, size, 1.0, aligned_by)
    reach = face_mask(landmarks, size, _LARGEST_REACH, aligned_by)
    amount = _change_amount(swapped.astype(np.float32) - aligned)
    other = (amount > _OTHER_SHAPE) & (reach > 0)
    attached = np.asarray(ndimage.binary_propagation(face > 0, mask=other | (face > 0)), bool)
    shape = (attached & other & (face < 1)).astype(np.float32)
    grown = smooth_step(2 * _blur(shape[..., None], _FEATHER * size / 3)[..., 0])
    return np.maximum(face, grown * reach).astype(np.float32)


def paste(
    picture: np.ndarray,
    aligned: np.ndarray,
    swapped: np.ndarray,
    alignment: Alignment,
    mask: np.ndarray,
    *,
    match_colours: bool = True,
) -> np.ndarray:
    """Replaces the face of a picture.

    Detail of the picture that is too fine for the aligned square stays where the network changed
    nothing, so a network that changes nothing leaves the picture as it is.

    Args:
      picture: uint8 (H, W, 3).
      aligned: uint8 (S, S, 3), what `alignment` cuts out of it.
      swapped: uint8 (S, S, 3), the network's result for it.
      alignment: of the face that is replaced.
      mask: (S, S) in [0, 1], how much of each pixel is replaced; it fades out at the square's
        edge whatever it says there.
      match_colours: shift the swapped face's colours to those of the picture around it.

    Returns:
      uint8 (H, W, 3); equal to the picture wherever the mask does not reach.
    """
    size = alignment.size
    mask = mask * smooth_step(_distance_to_edge(size) / (_EDGE * size) - 0.5)
    change = swapped.astype(np.float32) - aligned
    if match_colours:
        change -= _seam_shift(change, mask)
    kept = _kept_detail(change)[..., None]
    # target + mask * (face - target), with the face = swapped + kept * (target - aligned).
    face = change + (1 - kept) * aligned
    weights = np.dstack([mask, kept]).astype(np.float32)
    result = picture.copy()
    for rows, columns, matrix in _blocks(*_part_of(picture, alignment)):
        shape = rows.stop - rows.start, columns.stop - columns.start
        cover, kept_there = np.split(warp(weights, matrix, shape, order=LINEAR), 2, -1)
        if not cover.any():
            continue
        target = picture[rows, columns].astype(np.float32)
        there = warp(face, matrix, shape)
        blended = to_uint8(target + cover * (there + (kept_there - 1) * target))
        result[rows, columns] = np.where(cover > 0, blended, picture[rows, columns])
    return result


def put_back(
    picture: np.ndarray,
    faces: Sequence[AlignedFace],
    swapped: Sequence[np.ndarray],
    mask: str = DEFAULT_MASK,
) -> np.ndarray:
    """Pastes swapped faces back into their picture.

    Args:
      picture: uint8 (H, W, 3).
      faces: where they belong, the largest first.
      swapped: uint8 (S, S, 3) for each; S need not be the side of the faces' squares.
      mask: what is replaced, one of `MASKS`; where the mesh sees no face, an ellipse.

    Returns:
      uint8 (H, W, 3); what is outside of the faces is as it was.
    """
    # A large face hides part of one behind it, so it is pasted later.
    for face, square in reversed(list(zip(faces, swapped, strict=True))):
        face = face.resized(len(square))
        cover = hull_mask(face.landmarks, face.square, square) if mask == "hull" else None
        if cover is None:
            cover = swap_mask(face.landmarks, face.square, square, face.alignment.rule.name)
        picture = paste(picture, face.square, square, face.alignment, cover)
    return picture


def _part_of(picture: np.ndarray, alignment: Alignment) -> tuple[slice, slice, np.ndarray]:
    """Returns rows and columns of the picture that the square touches, and the way into them."""
    size = alignment.size
    corners = alignment.to_picture(np.array([(0, 0), (size, 0), (0, size), (size, size)]))
    limits = picture.shape[1::-1]
    left, top = np.clip(np.floor(corners.min(0)), 0, limits).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, limits).astype(int).tolist()
    inverse = alignment.inverse
    matrix = np.column_stack([inverse[:, :2], inverse[:, 2] - (left, top)])
    return slice(top, bottom), slice(left, right), matrix


def _blocks(
    rows: slice, columns: slice, matrix: np.ndarray
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    height = max(1, _BLOCK_PIXELS // max(1, columns.stop - columns.start))
    for top in range(rows.start, rows.stop, height):
        shifted = np.column_stack([matrix[:, :2], matrix[:, 2] - (0, top - rows.start)])
        yield slice(top, min(top + height, rows.stop)), columns, shifted


def _seam_shift(change: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Spreads the change of colour along the mask's rim over the whole face."""
    rim = (mask * (1 - mask))[..., None]
    values = np.clip(change, -_LARGEST_SHIFT, _LARGEST_SHIFT) * rim
    sigma = _SEAM_REACH * len(mask)
    spread = _blur(np.concatenate([values, rim], -1), sigma)
    return spread[..., :3] / np.maximum(spread[..., 3:], 1e-6)


def _kept_detail(change: np.ndarray) -> np.ndarray:
    """(S, S): 1 where nothing changed, 0 where much did."""
    return np.clip(1 - _change_amount(change) / _CHANGED, 0, 1)


def _change_amount(change: np.ndarray) -> np.ndarray:
    """(S, S): grey levels of the channel that changed most, without noise."""
    return _blur(np.abs(change).max(-1, keepdims=True), len(change) / 128)[..., 0]


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(values, sigma, axes=(0, 1), mode="nearest")


def _distance_to_edge(size: int) -> np.ndarray:
    line = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    return np.minimum(line[:, None], line)


def _middle_line(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the middles of the eyes, of the nose and of the mouth, each (2,)."""
    points = np.asarray(landmarks, np.float64)
    return points[:2].mean(0), points[2], points[3:].mean(0)


def _across(points: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return points[..., 1] * axis[0] - points[..., 0] * axis[1]
