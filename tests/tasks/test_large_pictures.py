"""Pictures of 512 pixels train with the paper's levels and rematerialisation."""

import jax
import numpy as np
import pytest
from tiny_tasks import identity_weights, make_state, read_config

from faceshifter_jax.tasks import AEITask

SIZE = 512


def config_of_512():
    config = read_config("aei", "")
    config.image_size = SIZE
    config.batch_size = 1
    config.remat = "aad"
    config.identity.embedding_size = 8
    # As many levels and scales as in the paper, but narrow.
    config.model.encoder_channels = (4,) * len(config.model.encoder_channels)
    config.model.generator_channels = (4,) * len(config.model.generator_channels)
    config.discriminator.width = 4
    return config


def test_the_paper_network_takes_pictures_of_512():
    config = read_config("aei", "")
    config.image_size = SIZE
    config.remat = "aad"
    state = jax.eval_shape(AEITask(config).init, jax.random.key(0))
    # Seven halvings of 512 end at 4x4, which is what the first map is made of.
    start = state.params["generator"]["generator"]["start"]["kernel"]
    assert start.shape == (config.identity.embedding_size, 4 * 4 * 1024)


@pytest.mark.slow
def test_a_step_with_pictures_of_512_and_remat():
    task = AEITask(config_of_512())
    random = np.random.default_rng(0)
    source, target = random.integers(0, 256, (2, 1, SIZE, SIZE, 3), np.uint8)
    batch = {"source": source, "target": target, "same": np.zeros(1, np.float32)}
    inputs = make_state(task), task.load_frozen({"identity": identity_weights()}), batch
    step = jax.jit(task.make_step(None)).lower(*inputs)
    unoptimised = {"xla_backend_optimization_level": 0}
    state, metrics = step.compile(compiler_options=unoptimised)(*inputs)
    assert state.step == 1
    assert all(np.isfinite(value) for value in jax.device_get(metrics).values())
    for player, params in state.params.items():
        moved = jax.tree.map(
            lambda new, old: bool((new != old).any()), params, inputs[0].params[player]
        )
        assert np.mean(jax.tree.leaves(moved)) > 0.9
