"""Skin, lips, brows, beard and collar as numbers for the kernels in `shading`."""

import numpy as np

from faceshifter_jax.synthetic.attributes import Attributes
from faceshifter_jax.synthetic.identity import Identity
from faceshifter_jax.synthetic.lighting import linear


def skin_values(identity: Identity, attributes: Attributes) -> np.ndarray:
    """The 29 numbers that `paint_face` reads, in the order of the names in `shading`."""
    skin, hair = attributes.skin, attributes.hair
    numbers = [
        *(skin.flush, skin.shine, skin.freckles, skin.beard, skin.makeup),
        *(identity.brow_thickness, identity.brow_arch, identity.brow_tilt, identity.brow_length),
        *(identity.brow_gap, identity.brow_density),
        float(skin.pattern % 1000),
        {"bald": 0.0, "buzz": 0.8}.get(hair.style, 0.9),
        identity.age,
    ]
    colours = [skin.tone, skin.lips, hair.brow_colour, attributes.clothes, hair.colour]
    parts = [linear(colour) for colour in colours]
    return np.concatenate([*parts, np.array(numbers)]).astype(np.float32)
