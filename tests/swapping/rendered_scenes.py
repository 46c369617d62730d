"""Pictures with several rendered faces, whose right answers can be rendered too."""

from collections.abc import Sequence

import numpy as np

from faceshifter_jax.synthetic import render, sample_attributes, sample_identity

PLACES = ((150, 110, 420), (760, 250, 330))
"""Left, top and side in pixels of each face's square in a picture of 1280x720."""


def render_face(identity: int, attributes: int, size: int = 256) -> np.ndarray:
    """Draws a face without anything in front of it: uint8 (size, size, 3)."""
    return render(sample_identity(identity), sample_attributes(attributes, occluder="none"), size)


def render_scene(
    identities: Sequence[int], attributes: Sequence[int] = (24, 29), seed: int = 0
) -> np.ndarray:
    """Draws a picture with two faces on a noisy wall: uint8 (720, 1280, 3)."""
    wall = np.random.default_rng(seed).normal((96, 112, 128), 6, (720, 1280, 3))
    scene = np.clip(wall, 0, 255).astype(np.uint8)
    for identity, attribute, (left, top, side) in zip(identities, attributes, PLACES, strict=True):
        scene[top : top + side, left : left + side] = render_face(identity, attribute, side)
    return scene
