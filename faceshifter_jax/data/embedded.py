"""The embedded faces as a dataset: which pictures it has, and rendering one of them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from faceshifter_jax.data.seeds import attribute_seed, draw_occluder, identity_seed
from faceshifter_jax.media.images import encode_png


@dataclasses.dataclass(frozen=True)
class EmbeddedPicture:
    """One picture: its identity's index in the dataset, and the two seeds."""

    identity: int
    identity_seed: int
    attribute_seed: int


def plan_embedded(
    *, num_identities: int, pictures_per_identity: int, seed: int, group_size: int = 1
) -> list[EmbeddedPicture]:
    """Lists the pictures of the dataset with that seed, identity by identity.

    Every `group_size` identities have the same `pictures_per_identity` sets of attributes.
    """
    plan = []
    for identity in range(num_identities):
        of_identity = identity_seed(seed, identity)
        for picture in range(pictures_per_identity):
            of_attributes = attribute_seed(seed, identity // group_size, picture)
            plan.append(EmbeddedPicture(identity, of_identity, of_attributes))
    return plan


def sample_scene(identity_seed: int, attribute_seed: int, occluder_share: float) -> tuple[Any, Any]:
    """Returns the (Identity, Attributes) of a picture, for `synthetic.render`.

    `occluder_share` is the dataset's: with the seed, it decides what covers the face.
    """
    return _sample_identity(identity_seed), _sample_attributes(attribute_seed, occluder_share)


# One person has many pictures, and so has one set of attributes in a group.
@functools.lru_cache(maxsize=64)
def _sample_identity(seed: int) -> Any:
    # Not at the top: the renderer compiles itself, and a preparation of photos does not need it.
    from faceshifter_jax import synthetic

    return synthetic.sample_identity(seed)


@functools.lru_cache(maxsize=2**17)
def code_of_identity(identity_seed: int) -> np.ndarray:
    """Returns the numbers that describe a person, float32 (N,), see `synthetic.identity_code`."""
    from faceshifter_jax import synthetic

    return synthetic.identity_code(synthetic.sample_identity(identity_seed))


@functools.lru_cache(maxsize=64)
def _sample_attributes(seed: int, occluder_share: float) -> Any:
    from faceshifter_jax import synthetic

    occluder = draw_occluder(seed, occluder_share, synthetic.OCCLUDERS)
    return synthetic.sample_attributes(seed, occluder=occluder)


def render_alike(
    pictures: Sequence[EmbeddedPicture], *, size: int, occluder_share: float
) -> list[bytes]:
    """Renders pictures of `size` pixels a side, one after the other, and encodes them as PNG.

    Pictures under the same attributes share everything that depends on the attributes alone, which
    takes a third of the time.
    """
    from faceshifter_jax import synthetic

    scenes = (
        sample_scene(picture.identity_seed, picture.attribute_seed, occluder_share)
        for picture in pictures
    )
    return [encode_png(synthetic.render(*scene, size)) for scene in scenes]
