"""Occluders alone, cut out with alpha, to be laid over any aligned picture of a face."""

import dataclasses

import numpy as np

from faceshifter_jax.synthetic.attributes import Attributes
from faceshifter_jax.synthetic.camera import build_camera, rotation
from faceshifter_jax.synthetic.identity import neutral_vertices
from faceshifter_jax.synthetic.lighting import light_values, linear
from faceshifter_jax.synthetic.model import head_model
from faceshifter_jax.synthetic.occluders import Cover, average_cover, occluder_cover
from faceshifter_jax.synthetic.raster import Samples, vertex_normals
from faceshifter_jax.synthetic.render import supersampling
from faceshifter_jax.synthetic.seeding import OCCLUDER, seeded
from faceshifter_jax.synthetic.shading import paint_cover

# Decimetres of the hand mesh that a cut-out of it shows, from the forearm to above the fingers.
_HAND_BOTTOM, _HAND_TOP = -0.45, 1.95
_PALM_HEIGHT = 0.85
PALM_ROW = (_HAND_TOP - _PALM_HEIGHT) / (_HAND_TOP - _HAND_BOTTOM)
"""The palm's middle in `hand_cutout`, as a share of its height."""


def occluder_cutout(attributes: Attributes, size: int, margin: int) -> np.ndarray:
    """The attributes' occluder where it sits in a picture of `size` pixels, without the picture.

    Returns uint8 (size + 2 * margin, size + 2 * margin, 4), RGBA: the picture and `margin` pixels
    beyond each of its edges. The head behind it is the mean one, without an expression.
    """
    mean = neutral_vertices(None)
    camera = build_camera(attributes, mean, size)
    wide = dataclasses.replace(
        camera, size=size + 2 * margin, shift=camera.shift + margin * (1 + 1j)
    )
    cover = occluder_cover(attributes, mean, wide, supersampling(size))
    if cover is None:
        raise ValueError("these attributes have no occluder")
    return _as_rgba(cover)


def hand_cutout(attributes: Attributes, size: int) -> np.ndarray:
    """A hand with its fingers upwards, in the attributes' skin tone and light.

    It shows its back or its palm, turned as the occluder's seed says. Returns uint8
    (size, size, 4), RGBA; the forearm continues below the lower edge.
    """
    rng = seeded(attributes.occluder.pattern, OCCLUDER)
    model = head_model()
    vertices = _bend(model.hand, rng) - np.array([0.0, _PALM_HEIGHT, 0.0], np.float32)
    yaw = rng.choice([0.0, 180.0], p=[0.7, 0.3]) + rng.uniform(-60, 60)
    posed = vertices @ rotation(yaw, rng.uniform(-20, 20), 0.0).T
    tone = np.broadcast_to(linear(attributes.skin.tone), (len(vertices), 3))
    # The place on the surface, for the grain, as the hands in the rendered pictures have it.
    paint = np.concatenate([tone, model.hand[:, :2] * 15], 1).astype(np.float32)
    return _as_rgba(_draw_hand(posed.astype(np.float32), paint, attributes, size))


def _bend(hand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fingers bent by a random amount, and a forearm that is long enough to be cut anywhere."""
    hand = hand.copy()
    hand[:, 2] -= rng.uniform(0.0, 0.4) * np.clip(hand[:, 1] - 0.75, 0.0, None) ** 2
    hand[hand[:, 1] < -0.6, 1] -= 1.0
    return hand


def _draw_hand(posed: np.ndarray, paint: np.ndarray, attributes: Attributes, size: int) -> Cover:
    times = supersampling(size)
    samples = Samples(size, times)
    pixels = size / (_HAND_TOP - _HAND_BOTTOM)
    middle = np.array([size / 2, PALM_ROW * size, 0.0])
    points = (posed * (pixels, -pixels, 1.0) + middle).astype(np.float32) * samples.scale
    triangles = head_model().hand_triangles
    samples.draw(points, triangles, 0, cull=False)
    count = len(samples.triangle)
    cover = np.zeros((count, count), np.float32)
    colours = np.zeros((count, count, 3), np.float32)
    paint_cover(
        *(samples.triangle, samples.weights, triangles, vertex_normals(posed, triangles), paint),
        *(np.float32(1.0), np.float32(0.06), np.float32(0.08), light_values(attributes.light)),
        *(cover, colours),
    )
    return average_cover(cover, colours, times)


def _as_rgba(cover: Cover) -> np.ndarray:
    layers = np.concatenate([cover.colour, cover.mask[..., None] * np.float32(255)], 2)
    return np.floor(np.clip(layers, 0, 255) + np.float32(0.5)).astype(np.uint8)
