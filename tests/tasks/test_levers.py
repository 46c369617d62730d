"""Settings that save memory or time give the same training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_tasks import (
    aei_config,
    arcface_config,
    hear_config,
    identity_batch,
    load_identity,
    load_two_stages,
    make_state,
    pair_batch,
)

from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks import AEITask, ArcFaceTask, HEARTask
from faceshifter_jax.tasks.step import average_weights, mean_over_micro_batches

UNOPTIMISED = {"xla_backend_optimization_level": 0}
TASKS = {
    "aei": (AEITask, aei_config, load_identity),
    "hear": (HEARTask, hear_config, load_two_stages),
    "arcface": (ArcFaceTask, arcface_config, lambda task: {}),
}


def one_step(name, batch, **settings):
    build, read_config, load_frozen = TASKS[name]
    config = read_config()
    config.batch_size = len(jax.tree.leaves(batch)[0])
    config.update_from_flattened_dict(settings)
    if name == "hear":
        config.loss.occluder = 1.0
    if name == "arcface":
        # Its first moment is the gradient then, as in the other two.
        config.optimizer.b1 = 0.0
    task = build(config)
    inputs = make_state(task), load_frozen(task), batch
    step = jax.jit(task.make_step(None)).lower(*inputs).compile(compiler_options=UNOPTIMISED)
    return step(*inputs)


def gradients(state):
    return {player: opt_state[0].mu for player, opt_state in state.opt_state.items()}


def alike_micro_batches(name, number):
    """A batch whose micro-batches show the same pictures, so that their statistics are alike.

    What is to be reconstructed is not: of four micro-batches of AEI-Net's, one has two such
    pairs, two have one and one has none.
    """
    if name == "arcface":
        return {key: np.repeat(rows, number, 0) for key, rows in identity_batch(4).items()}
    batch = {key: np.repeat(rows, number, 0) for key, rows in pair_batch(2, same=0.0).items()}
    batch["same"][[0, 1, number]] = 1
    if name == "hear":
        shape = batch["target"].shape[:3]
        batch["occluder"] = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return batch


@pytest.mark.parametrize(
    ("name", "number", "settings"),
    [
        ("aei", 4, {"remat": "aad"}),
        pytest.param("arcface", 2, {}, marks=pytest.mark.slow),
        pytest.param("hear", 4, {}, marks=pytest.mark.slow),
    ],
)
def test_micro_batches_and_remat_give_the_step_of_the_whole_batch(name, number, settings):
    batch = alike_micro_batches(name, number)
    whole, metrics = one_step(name, batch)
    parts, part_metrics = one_step(name, batch, accumulate_steps=number, **settings)
    assert jax.tree.structure(whole) == jax.tree.structure(parts)
    for ours, theirs in (
        (gradients(parts), gradients(whole)),
        (parts.batch_stats, whole.batch_stats),
        (part_metrics, metrics),
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(
                a, b, rtol=0, atol=1e-5 * max(1.0, float(np.abs(b).max()))
            ),
            ours,
            theirs,
        )


def test_every_device_has_rows_of_every_micro_batch():
    """Rows 0 to 3 are the first device's of two: two of them are in either micro-batch."""

    def which_rows_meet(rows):
        here = jax.nn.one_hot(rows["row"], 8).sum(0)
        return jnp.outer(here, here)

    together = mean_over_micro_batches(which_rows_meet, {"row": np.arange(8)}, 2)
    parity = np.arange(8) % 2
    np.testing.assert_array_equal(together, 0.5 * (parity[:, None] == parity))


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(
        UserError, match=r"6 rows cannot be divided into config\.accumulate_steps=4"
    ):
        mean_over_micro_batches(lambda rows: rows["x"].mean(), {"x": np.zeros(6)}, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aei", "hear"])
def test_bfloat16_gives_about_the_same_losses_and_float32_parameters(name):
    batch = alike_micro_batches(name, 2)
    exact, metrics = one_step(name, batch)
    rough, rough_metrics = one_step(name, batch, compute_dtype="bfloat16")
    for key in metrics:
        if key.endswith("loss"):
            np.testing.assert_allclose(
                rough_metrics[key], metrics[key], rtol=0.03, atol=0.01, err_msg=key
            )
    assert float(rough_metrics["identity_loss"]) != float(metrics["identity_loss"])
    for leaf in jax.tree.leaves((rough.params, rough.ema_params, rough.batch_stats)):
        assert leaf.dtype == jnp.float32
    ours, theirs = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradients(state))])
        for state in (rough, exact)
    )
    assert ours @ theirs > 0.99 * np.linalg.norm(ours) * np.linalg.norm(theirs)


def test_frozen_networks_follow_the_dtype():
    config = hear_config()
    for name, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        config.compute_dtype = name
        frozen = load_two_stages(HEARTask(config))
        assert {network.module.dtype for network in frozen.values()} == {dtype}
        picture = jnp.zeros((1, config.image_size, config.image_size, 3))
        embedding = jax.eval_shape(frozen["identity"].embed, picture)
        assert embedding.dtype == jnp.float32
        assert jax.eval_shape(frozen["aei"].swap, picture, embedding).dtype == jnp.float32


@pytest.mark.parametrize("step", [0, 1, 100_000])
def test_average_without_decay_is_the_weights(step):
    random = np.random.default_rng(0)
    old, new = (
        {"kernel": random.standard_normal((3, 4)).astype(np.float32) * 10**i} for i in (5, -3)
    )
    average = average_weights(old, new, jnp.int32(step), 0.0)
    np.testing.assert_array_equal(average["kernel"], new["kernel"])
