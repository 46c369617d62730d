"""Random mirroring and recolouring of decoded pictures."""

from typing import NamedTuple

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])
_GREY_AXIS = np.ones(3) / np.sqrt(3)
_HUE_DEGREES = 20.0


class Change(NamedTuple):
    """A change to a picture: `matrix`, float32 (3, 4), maps (R, G, B, 1) to a colour."""

    mirrored: bool
    matrix: np.ndarray | None


def augment(
    picture: np.ndarray, rng: np.random.Generator, *, horizontal_flip: bool, colour_jitter: float
) -> np.ndarray:
    """Mirrors a picture half the time and shifts its colours: what `draw_change` draws."""
    change = draw_change(picture, rng, horizontal_flip=horizontal_flip, colour_jitter=colour_jitter)
    return apply_change(picture, change)


def draw_change(
    picture: np.ndarray, rng: np.random.Generator, *, horizontal_flip: bool, colour_jitter: float
) -> Change:
    """Draws whether to mirror a picture and how to shift its colours, as far as requested.

    Args:
        picture: uint8 (height, width, 3); its contrast is changed about its own mean.
        rng: the source of random choices; the result is a function of its state.
        horizontal_flip: whether to mirror at all.
        colour_jitter: strength s, 0 to 1: brightness, contrast and saturation are scaled by
            factors from 1 - s to 1 + s, and hues turned by up to s * 20 degrees.
    """
    mirrored = horizontal_flip and bool(rng.random() < 0.5)
    if colour_jitter > 0:
        return Change(mirrored, _draw_colours(picture, rng, colour_jitter))
    return Change(mirrored, None)


def apply_change(picture: np.ndarray, change: Change) -> np.ndarray:
    """Changes a picture, uint8 (height, width, 3), which is left as it is."""
    if change.matrix is None:
        return _mirror(picture) if change.mirrored else picture
    # Not at the top, so that numba is loaded only where colours are changed.
    from faceshifter_jax.data.kernels import transform_colours

    return transform_colours(picture, change.matrix, change.mirrored)


def _mirror(picture: np.ndarray) -> np.ndarray:
    # Not a view: numpy would copy its pixels one by one, four times as slowly.
    result = np.empty_like(picture)
    for channel in range(3):
        result[..., channel] = picture[:, ::-1, channel]
    return result


def _draw_colours(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    turn = np.deg2rad(_HUE_DEGREES) * strength * rng.uniform(-1, 1)
    # All four are affine in the colour: one 3x4 matrix does them, and rounds once.
    saturate = saturation * np.eye(3) + (1 - saturation) * _LUMA
    colour = brightness * contrast * (saturate @ _rotation_about_grey(turn))
    shift = (1 - contrast) * brightness * float(_LUMA @ _mean_colour(picture))
    return np.column_stack([colour, np.full(3, shift)]).astype(np.float32)


def _mean_colour(picture: np.ndarray) -> np.ndarray:
    # In two passes of whole numbers: fifteen times faster than `picture.mean(axis=(0, 1))`.
    height, width, _ = picture.shape
    return picture.sum(axis=0, dtype=np.uint32).sum(axis=0, dtype=np.uint64) / (height * width)


def _rotation_about_grey(angle: float) -> np.ndarray:
    x, y, z = _GREY_AXIS
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    along = np.outer(_GREY_AXIS, _GREY_AXIS)
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * along
