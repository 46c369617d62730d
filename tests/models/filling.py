"""Variables of a network without its initialisers, which take long to compile."""

import jax
import numpy as np
from flax import traverse_util


def fill(network, *inputs, scale: float = 0.5):
    """Random variables everywhere: at first, biases are 0 and would hide mistakes."""
    shapes = jax.eval_shape(lambda key: network.init(key, *inputs), jax.random.key(0))
    values = {}
    for path, leaf in traverse_util.flatten_dict(shapes).items():
        random = np.random.default_rng(len(values)).standard_normal(leaf.shape, np.float32)
        fan_in = np.prod(leaf.shape[:-1])
        kind = path[-1]
        values[path] = (
            np.abs(random) + np.float32(0.5)
            if kind in ("var", "scale")
            else random * np.float32(scale * fan_in**-0.5)
        )
        assert values[path].dtype == leaf.dtype
    return traverse_util.unflatten_dict(values)
