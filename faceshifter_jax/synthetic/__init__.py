"""Embedded faces: a head model and its renderer, so that the right answer of a swap is known.

`render(identity_of_the_source, attributes_of_the_target, size)` is what a perfect swap shows.
"""

from faceshifter_jax.synthetic.attributes import OCCLUDERS, Attributes, sample_attributes
from faceshifter_jax.synthetic.identity import (
    Identity,
    identity_code,
    neutral_vertices,
    sample_identity,
)
from faceshifter_jax.synthetic.render import Layers, render, render_layers

__all__ = [
    "OCCLUDERS",
    "Attributes",
    "Identity",
    "Layers",
    "identity_code",
    "neutral_vertices",
    "render",
    "render_layers",
    "sample_attributes",
    "sample_identity",
]
