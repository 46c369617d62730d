"""A converted identity network at work: it knows people, and its gradient can change a face."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_networks import make_picture

from faceshifter_jax.convert.recognise import convert_file
from faceshifter_jax.models import MobileFaceNet
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.identity import IdentityNetwork, InputFormat
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity

REAL = Path(
    os.environ.get(
        "MOBILEFACENET", Path(__file__).parents[3] / "shared" / "models" / "MobileFaceNet.tflite"
    )
)
GREY_LEVEL = 1 / 127.5


@pytest.fixture(scope="module")
def published():
    if not REAL.is_file():
        pytest.skip("needs MobileFaceNet.tflite: name it in the environment as MOBILEFACENET")
    network = convert_file(REAL).networks["identity"]
    return IdentityNetwork(network.variables, build_network(network), network.input)


@pytest.fixture(scope="module")
def faces():
    """(people, pictures, 256, 256, 3) in [-1, 1]."""
    pictures = [
        [
            render(sample_identity(who), sample_attributes(10 * who + how, occluder="none"), 256)
            for how in range(2)
        ]
        for who in range(6)
    ]
    return np.asarray(pictures, np.float32) / 127.5 - 1


def test_the_published_network_tells_rendered_people_apart(published, faces):
    embedding = jax.jit(published.embed)(faces.reshape(-1, 256, 256, 3))
    cosines = np.asarray(embedding @ embedding.T).reshape(6, 2, 6, 2)[:, 0, :, 1]
    same = np.diag(cosines)
    others = cosines[~np.eye(6, dtype=bool)]
    print(f"one person: {np.sort(same)}; two: {np.sort(others)}")
    assert same.mean() > others.mean() + 0.2


def climb(network, picture, wanted, steps=30):
    """The cosine to an embedding before and after signed gradient steps of one grey level."""

    @jax.jit
    def distance(picture):
        return 1 - jnp.sum(network.embed(picture) * wanted)

    gradient = jax.jit(jax.grad(distance))
    before = 1 - distance(picture)
    for _ in range(steps):
        slope = gradient(picture)
        assert np.isfinite(slope).all()
        picture = jnp.clip(picture - GREY_LEVEL * jnp.sign(slope), -1, 1)
    return float(before), float(1 - distance(picture))


def test_thirty_gradient_steps_make_it_see_another_person(published, faces):
    for one, other in ((0, 1), (2, 3)):
        wanted = published.embed(faces[other, :1])
        before, after = climb(published, jnp.asarray(faces[one, :1]), wanted)
        assert before < 0.7
        assert after > 0.8


def test_gradients_of_an_untrained_network_are_finite_and_lead_uphill():
    module = MobileFaceNet(stages=((2, 8, 1, 2),), embedding_size=8)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    network = IdentityNetwork(variables, module, InputFormat(32, scale=128.0))
    pictures = make_picture("faces", (2, 64, 64, 3))
    before, after = climb(network, pictures[:1], network.embed(pictures[1:]), steps=10)
    assert after > before
