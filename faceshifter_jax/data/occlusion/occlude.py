"""Synthetic occlusions: a cut-out laid over an aligned picture of a face."""

import dataclasses

import numpy as np

from faceshifter_jax.data import kernels
from faceshifter_jax.data.occlusion.colours import match_colours
from faceshifter_jax.data.occlusion.cutouts import Cutout
from faceshifter_jax.data.occlusion.placing import Layer, draw_placement, place
from faceshifter_jax.faces.region import face_region

# What is worn keeps most of its colour: glasses are not made of skin.
_MOST_MATCHED = {"loose": 0.7, "reaching": 0.8, "worn": 0.35}
_AROUND_SHARE = 0.1


def occlude(
    picture: np.ndarray, cutout: Cutout, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lays a cut-out over a face: at a random place, size and rotation, in matched colours.

    Args:
        picture: uint8 (S, S, 3), RGB, aligned; left as it is.
        cutout: what to lay over it; `Cutout.manner` says how freely it is placed.
        rng: the source of random choices; the result is a function of its state.

    Returns:
        The occluded picture, uint8 (S, S, 3), and the alpha it was blended with, float32 (S, S)
        in [0, 1]. The colours were matched by a random amount to the face under and around it.
    """
    layer = draw_layer(picture, cutout, rng)
    return lay_over(picture, layer), layer_alpha(layer, len(picture)) / np.float32(255)


def draw_layer(picture: np.ndarray, cutout: Cutout, rng: np.random.Generator) -> Layer:
    """Draws the place and the colours of a cut-out: the layer that `occlude` lays over the picture.

    It fits any picture of that size; colours are matched to the face in `picture`.
    """
    size = len(picture)
    amount = rng.uniform(0, _MOST_MATCHED[cutout.manner])
    layer = place(cutout, draw_placement(cutout, size, rng), size)
    cover = layer.pixels[..., 3] / np.float32(255)
    if not cover.any():
        return layer
    colours = match_colours(layer.pixels[..., :3], cover, _face_around(picture, layer), amount)
    pixels = np.concatenate([colours, layer.pixels[..., 3:]], axis=-1)
    return dataclasses.replace(layer, pixels=pixels)


def lay_over(picture: np.ndarray, layer: Layer) -> np.ndarray:
    """Lays a layer over a picture, uint8 (S, S, 3), which is left as it is."""
    covered = picture.copy()
    part, alpha = _part(layer), layer.pixels[..., 3] / np.float32(255)
    if alpha.any():
        colours = np.ascontiguousarray(layer.pixels[..., :3])
        covered[part] = blend(picture[part], colours, alpha)
    return covered


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lays colours over others: exactly those below where alpha is 0, those above where it is 1.

    Between, the weighted mean is rounded to the nearest byte, halves upwards.

    Args:
        below: uint8 (height, width, 3).
        above: uint8 (height, width, 3), not multiplied by alpha.
        alpha: float32 (height, width) in [0, 1].

    Returns:
        uint8 (height, width, 3).
    """
    return kernels.blend(below, above, alpha)


def layer_alpha(layer: Layer, size: int) -> np.ndarray:
    """Returns the alpha of a layer over a picture of `size` pixels: uint8 (size, size)."""
    alpha = np.zeros((size, size), np.uint8)
    alpha[_part(layer)] = layer.pixels[..., 3]
    return alpha


def _part(layer: Layer) -> tuple[slice, slice]:
    height, width = layer.pixels.shape[:2]
    return np.s_[layer.row : layer.row + height, layer.column : layer.column + width]


def _face_around(picture: np.ndarray, layer: Layer) -> np.ndarray:
    """Pixels (n, 3) of the face in and around a layer's box, or of the whole face if none."""
    size = len(picture)
    around = round(_AROUND_SHARE * size)
    height, width = layer.pixels.shape[:2]
    top, bottom = max(0, layer.row - around), min(size, layer.row + height + around)
    left, right = max(0, layer.column - around), min(size, layer.column + width + around)
    face = face_region(size)
    near = kernels.pixels_inside(picture, face, top, bottom, left, right)
    return near if len(near) else picture[face]
