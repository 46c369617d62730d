"""Our AEI training step, as `train.py` runs it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from step_scale import Scale, random_batch, read_config

from faceshifter_jax.identity import IdentityNetwork
from faceshifter_jax.network import InputFormat
from faceshifter_jax.tasks.aei import AEITask
from faceshifter_jax.tasks.networks import build_identity_network


class OurStep:
    """State, frozen identity network and compiled step.

    Args:
      scale: sizes of pictures and networks.
      batch_size: pictures a step.
      dtype: `float32` or `bfloat16`, of the computation; parameters are float32.
      remat: `none` or `aad`, as `config.remat`.
    """

    def __init__(self, scale: Scale, batch_size: int, dtype: str = "float32", remat: str = "none"):
        self.batch = random_batch(scale, batch_size)
        self._task = AEITask(_config(scale, batch_size, dtype, remat))
        network = build_identity_network(
            {
                "depth": scale.identity_depth,
                "width": scale.identity_width,
                "embedding_size": scale.embedding_size,
                "squeeze_excitation": True,
            },
            dtype=self._task._dtype,
        )
        self._identity = network
        self._step = jax.jit(self._task.make_step(None), donate_argnums=0)

    def start(self) -> None:
        """Draws the weights, the same in every process."""
        random = np.random.default_rng(0)
        state = _fill(jax.eval_shape(self._task.init, jax.random.key(0)), random)
        # What is donated must lie in memory once.
        average = {"generator": jax.tree.map(jnp.copy, state.params["generator"])}
        self.state = state.replace(ema_params=average)
        self.frozen = _fill(jax.eval_shape(self._make_frozen, jax.random.key(1)), random)

    def _make_frozen(self, key: jax.Array) -> dict[str, IdentityNetwork]:
        variables = self._identity.init(key, np.zeros((1, 112, 112, 3), np.float32))
        wanted = InputFormat(112)
        return {"identity": IdentityNetwork(variables, self._identity, wanted)}

    def run(self) -> dict[str, float]:
        """Makes one step and returns its metrics."""
        self.state, metrics = self._step(self.state, self.frozen, self.batch)
        return {name: float(value) for name, value in jax.device_get(metrics).items()}

    def lower(self) -> jax.stages.Lowered:
        """The step as it would be compiled; no weights are drawn for it."""
        state = jax.eval_shape(self._task.init, jax.random.key(0))
        frozen = jax.eval_shape(self._make_frozen, jax.random.key(1))
        return self._step.lower(state, frozen, self.batch)

    def operations(self) -> float:
        """Operations of a step as XLA counts them before it optimises, with plain convolutions."""
        from faceshifter_jax.tpu.compile import tracing_for

        with tracing_for("none"):
            state = jax.eval_shape(self._task.init, jax.random.key(0))
            frozen = jax.eval_shape(self._make_frozen, jax.random.key(1))
            step = jax.jit(self._task.make_step(None))
            return step.lower(state, frozen, self.batch).cost_analysis()["flops"]


def _fill(tree: Any, random: np.random.Generator) -> Any:
    """Kernels of unit gain and the rest as at a training's start: compiling `init` is slow."""

    def fill(path, leaf):
        name = path[-1].key if isinstance(path[-1], jax.tree_util.DictKey) else ""
        if name == "kernel" and not _is_of_optimizer(path):
            values = random.standard_normal(leaf.shape, np.float32)
            return jnp.array(values / np.sqrt(np.prod(leaf.shape[:-1])))
        start = {"scale": 1, "var": 1, "slope": 0.25}.get(name, 0)
        return jnp.full(leaf.shape, 0 if _is_of_optimizer(path) else start, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, tree)


def _is_of_optimizer(path: tuple[Any, ...]) -> bool:
    return getattr(path[0], "name", None) == "opt_state"


def _config(scale: Scale, batch_size: int, dtype: str, remat: str) -> Any:
    config = read_config()
    config.image_size = scale.image_size
    config.batch_size = batch_size
    config.compute_dtype = dtype
    config.remat = remat
    config.model.encoder_channels = scale.encoder
    config.model.generator_channels = scale.generator
    config.discriminator.num_scales = scale.num_scales
    config.discriminator.width = scale.judge_width
    config.discriminator.num_layers = scale.judge_layers
    config.identity.embedding_size = scale.embedding_size
    return config
