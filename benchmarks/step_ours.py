"""Our AEI training step, as `train.py` runs it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from operations import plain_operations
from step_scale import Scale, random_batch, read_config

from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.identity import IdentityNetwork
from faceshifter_jax.networks.network import InputFormat, Network
from faceshifter_jax.runtime.parallel import build_parallel
from faceshifter_jax.tasks.aei import AEITask
from faceshifter_jax.training.guard import guard_step, make_request, not_finite


class OurStep:
    """State, frozen identity network and the step as `training.loop` compiles it.

    Args:
      scale: sizes of pictures and networks.
      batch_size: pictures a step.
      dtype: `float32` or `bfloat16`, of the computation; parameters are float32.
      remat: `none` or `aad`, as `config.remat`.
    """

    def __init__(self, scale: Scale, batch_size: int, dtype: str = "float32", remat: str = "none"):
        self.batch = random_batch(scale, batch_size) | make_request(0, 1)
        self._task = AEITask(_config(scale, batch_size, dtype, remat))
        settings = {
            "depth": scale.identity_depth,
            "width": scale.identity_width,
            "embedding_size": scale.embedding_size,
            "squeeze_excitation": True,
        }
        network = build_network(Network("IResNet", settings, {}), dtype=self._task._dtype)
        self._identity = network
        self._parallel = build_parallel("jit", jax.devices()[:1])
        self.guarded = guard_step(self._task.make_step(None), None)
        self._step = self._parallel.compile_step(self.guarded)

    def start(self) -> None:
        """Draws the weights, the same in every process."""
        random = np.random.default_rng(0)
        shapes, frozen = self.shapes()
        state = _fill(shapes, random)
        # What is donated must lie in memory once.
        average = {"generator": jax.tree.map(jnp.copy, state.params["generator"])}
        self.state = state.replace(ema_params=average)
        self.frozen = _fill(frozen, random)

    def _make_frozen(self, key: jax.Array) -> dict[str, IdentityNetwork]:
        variables = self._identity.init(key, np.zeros((1, 112, 112, 3), np.float32))
        wanted = InputFormat(112)
        return {"identity": IdentityNetwork(variables, self._identity, wanted)}

    def run(self) -> dict[str, float]:
        """Makes one step, the first time after compiling it, and returns its metrics.

        Raises:
          UserError: something is not finite.
        """
        batch = self._parallel.put_batch(self.batch)
        self.state, told = self.compiled(self.state, self.frozen, batch)
        metrics, signs = jax.device_get(told)
        if not signs["finite"]:
            raise not_finite(int(self.state.step), metrics)
        return {name: float(value) for name, value in metrics.items()}

    @functools.cached_property
    def compiled(self) -> jax.stages.Compiled:
        # A call would compile again for a state that a step made: it is placed otherwise.
        return self.lower().compile()

    def lower(self) -> jax.stages.Lowered:
        """The step as it would be compiled; no weights are drawn for it."""
        return self._step.lower(*self.shapes(), self.batch)

    def operations(self) -> float:
        """`plain_operations` of a step, without the check that all is finite."""
        return plain_operations(self._task.make_step(None), *self.shapes(), self.batch)

    def shapes(self) -> tuple[Any, Any]:
        """Those of the state and of what is frozen."""
        state = jax.eval_shape(self._task.init, jax.random.key(0))
        return state, jax.eval_shape(self._make_frozen, jax.random.key(1))


def _fill(tree: Any, random: np.random.Generator) -> Any:
    """Kernels of unit gain, the rest as at the start of training: compiling `init` is slow."""

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
