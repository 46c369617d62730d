"""What swaps: folded networks, and sources that are looked at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_tasks import aei_config, arcface_config, hear_config, make_state, pair_batch

from faceshifter_jax.checkpoints.compatibility import build_meta
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.networks.generator import generator_from, second_stage_from
from faceshifter_jax.networks.identity import identity_network_from
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.swapping.stage_functions import run_stages
from faceshifter_jax.swapping.stages import SourceMemory, load_stages
from faceshifter_jax.tasks import AEITask, ArcFaceTask, HEARTask


def as_if_trained(state, seed):
    """Statistics, scales and biases as training leaves them: none at its first value."""
    random = np.random.default_rng(seed)

    def move(path, leaf):
        name, noise = path[-1].key, random.standard_normal(leaf.shape)
        if name == "var":
            return jnp.asarray(0.5 + np.abs(noise), leaf.dtype)
        if name == "mean" or leaf.ndim < 2:
            return leaf + jnp.asarray(0.3 * noise, leaf.dtype)
        return leaf

    def move_all(tree):
        return jax.tree_util.tree_map_with_path(move, tree)

    return state.replace(
        params=move_all(state.params),
        ema_params=move_all(state.ema_params),
        batch_stats=move_all(state.batch_stats),
    )


def save(workdir, config, task, seed, **frozen):
    sources = {n: {"path": w.directory, "sha256": w.sha256} for n, w in frozen.items()}
    with Checkpoints(workdir, keep_newest=1, keep_every_steps=0) as checkpoints:
        state = as_if_trained(make_state(task(config), seed=seed), seed)
        checkpoints.save(1, state, build_meta(config, dataset="none", frozen=sources))
    return read_weights(workdir)


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    top = tmp_path_factory.mktemp("two_stages")
    identity = save(top / "identity", arcface_config(), ArcFaceTask, 5)
    aei = save(top / "aei", aei_config(), AEITask, 6, identity=identity)
    save(top / "hear", hear_config(), HEARTask, 7, identity=identity, aei=aei)
    return top


def plain_stages(workdirs, source, target):
    """What the networks compute as they were trained, without anything of the swap's path."""
    generator = generator_from(read_weights(workdirs / "aei"))
    second = second_stage_from(read_weights(workdirs / "hear"), target.shape[1])
    identity = identity_network_from(read_weights(workdirs / "identity"))
    source, target = to_unit_range(source), to_unit_range(target)
    whose, own = map(jax.jit(identity.embed), (source, target))
    swap = jax.jit(type(generator).swap)(generator, target, whose)
    error = jax.jit(type(generator).heuristic_error)(generator, target, own)
    refined = jax.jit(type(second).refine)(second, swap, error, target)
    return np.stack([swap, error, refined], 1)


def test_swap_is_that_of_the_plain_networks(workdirs):
    batch = pair_batch(3)
    source, target = batch["source"], batch["target"]
    expected = plain_stages(workdirs, source, target)
    stages = load_stages(str(workdirs / "hear"), batch_size=2)
    result = stages.run(source, target)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=1e-4)
    # Evaluation compiles this one, whose sources are others each time.
    whole = jax.jit(run_stages)(stages.networks, source, target)
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    one_stage = load_stages(str(workdirs / "aei"), batch_size=1).run(source, target)
    np.testing.assert_allclose(one_stage, expected[:, :1], atol=1e-4)
    assert min(np.ptp(expected[:, k]) for k in range(3)) > 0.1


def test_source_is_looked_at_once():
    looked_at = []

    def find(source):
        looked_at.append(int(source[0, 0, 0, 0]))
        return {"terms": jnp.full((1, 2), source[0, 0, 0, 0], jnp.float32)}

    memory = SourceMemory(find, capacity=2)
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    first = memory.find(frames[[1, 1, 0, 1]])
    np.testing.assert_array_equal(first["terms"], [[1, 1], [1, 1], [0, 0], [1, 1]])
    assert looked_at == [1, 0]
    memory.find(frames[[0, 1]])
    assert looked_at == [1, 0]
    # More than it keeps: the one asked for longest ago goes.
    memory.find(frames[[2]])
    memory.find(frames[[1]])
    assert looked_at == [1, 0, 2]
    memory.find(frames[[0]])
    assert looked_at == [1, 0, 2, 0]
