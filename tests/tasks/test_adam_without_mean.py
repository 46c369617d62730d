import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from faceshifter_jax.tasks.optimizer import build_optimizer


@pytest.mark.parametrize("b1", [0.0, 0.9])
def test_adam_is_optaxs_whether_or_not_its_mean_is_read(b1):
    """The same parameters and the same state, bit for bit, so that checkpoints are the same."""
    settings = {
        "name": "adam",
        "learning_rate": 1e-2,
        "schedule": "constant",
        "warmup_steps": 0,
        "b1": b1,
        "b2": 0.999,
        "weight_decay": 0.01,
    }
    ours = build_optimizer(settings, num_steps=10)
    plain = optax.adamw(1e-2, b1=b1, b2=0.999, weight_decay=0.01)
    begin = {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}
    results = []
    for optimizer in (ours, plain):
        params, state = begin, optimizer.init(begin)
        for step in range(4):
            grads = jax.tree.map(lambda p, s=step: jnp.sin(p + s), params)
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        results.append((params, optax.tree.get(state, "mu"), optax.tree.get(state, "nu")))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_the_mean_is_not_read_where_it_is_forgotten():
    settings = {"learning_rate": 1e-2, "schedule": "constant", "warmup_steps": 0}
    optimizer = build_optimizer(
        {**settings, "name": "adam", "b1": 0.0, "b2": 0.999, "weight_decay": 0.0}, num_steps=10
    )
    params = {"kernel": jnp.ones(3)}
    state = optax.tree.set(optimizer.init(params), mu={"kernel": jnp.full(3, jnp.nan)})
    updates, state = optimizer.update({"kernel": jnp.ones(3)}, state, params)
    assert np.isfinite(updates["kernel"]).all()
    np.testing.assert_array_equal(optax.tree.get(state, "mu")["kernel"], 1.0)
