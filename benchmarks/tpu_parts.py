"""Parts of the AEI step that compile for a TPU in a minute or two, to try a change on.

Each is a step of its own, `(state, frozen, batch) -> (state, numbers)`, with its gradients. The
numbers are sums of squares, so that nothing can be left out.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from faceshifter_jax import losses
from faceshifter_jax.devices.inputs import Shapes
from faceshifter_jax.errors import UserError
from faceshifter_jax.models.aad import AADResBlock, AADSettings
from faceshifter_jax.models.discriminator import PatchDiscriminator
from faceshifter_jax.models.layers import upsample
from faceshifter_jax.networks.build import compute_dtype
from faceshifter_jax.tasks.optimizer import build_optimizer
from faceshifter_jax.tasks.step import average_weights, gradient_norms
from faceshifter_jax.tasks.task import TrainState
from faceshifter_jax.training.guard import REQUEST, guard_step

Part = tuple[Callable, tuple[Shapes, Shapes, Shapes]]
"""A step and the shapes of its arguments."""


def build_part(name: str, config: ConfigDict) -> Part:
    """Returns a part of the step of an `aei` config at its batch size.

    Args:
      name: `aad_K`, the AAD block of level K, 0 being the smallest; `discriminator_K`, the
        discriminator of scale K, 0 being the full size; `upsample`, the last doubling of the
        attributes; `attribute_loss`; `optimizer`, both players' updates.
      config: complete.

    Raises:
      UserError: the part is unknown.
    """
    return find_part(name, config)(config)


def find_part(name: str, config: ConfigDict) -> Callable[[ConfigDict], Part]:
    """Returns what builds a part; arguments and exceptions as of `build_part`."""
    if config.task != "aei":
        raise UserError(f"parts are those of configs/aei.py: there is none of task {config.task!r}")
    match = re.fullmatch(r"(aad|discriminator)_(\d+)", name)
    if match:
        build, limit = {
            "aad": (_aad_block, len(config.model.encoder_channels) + 1),
            "discriminator": (_discriminator, config.discriminator.num_scales),
        }[match[1]]
        number = int(match[2])
        if number < limit:
            return lambda config: build(config, number)
    plain = {"upsample": _upsample, "attribute_loss": _attribute_loss, "optimizer": _optimizer}
    if name in plain:
        return plain[name]
    raise UserError(
        f"no part {name!r}: there are aad_0 to aad_{len(config.model.encoder_channels)}, "
        f"discriminator_0 to discriminator_{config.discriminator.num_scales - 1}, "
        f"{', '.join(plain)}"
    )


def _shape(config: ConfigDict, *dimensions: int, dtype: Any = None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((config.batch_size, *dimensions), dtype or compute_dtype(config))


def _energy(tree: Any) -> jax.Array:
    return sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree))


def _with_gradients(apply: Callable, params: Shapes, inputs: dict[str, Any]) -> Part:
    """A step of plain descent for `apply(params, inputs) -> array`, the cotangent being given."""
    result = jax.eval_shape(apply, params, inputs)
    # One cotangent for every row.
    batch = {**inputs, "cotangent": result}

    def step(state, frozen, batch):
        del frozen
        batch = dict(batch)
        cotangent = batch.pop("cotangent")
        y, pull_back = jax.vjp(apply, state, batch)
        params_grads, input_grads = pull_back(cotangent)
        state = jax.tree.map(lambda p, g: p - 1e-3 * g.astype(p.dtype), state, params_grads)
        return state, {"output": _energy(y), "inputs": _energy(input_grads)}

    return step, (params, {}, batch)


def _attribute_shapes(config: ConfigDict) -> list[jax.ShapeDtypeStruct]:
    """The attribute maps (B, H, W, D) of each level, coarse to fine."""
    down = config.model.encoder_channels
    joined = config.model.encoder_skip == "concat"
    widths = [down[-1], *((1 + joined) * width for width in reversed(down[:-1]))]
    widths.append(widths[-1])
    smallest = config.image_size // 2 ** len(down)
    sizes = [smallest * 2**level for level in range(len(widths))]
    return [_shape(config, size, size, width) for size, width in zip(sizes, widths, strict=True)]


def _aad_block(config: ConfigDict, level: int) -> Part:
    channels = (*config.model.generator_channels, 3)
    block = AADResBlock(
        width=channels[level],
        features=channels[level + 1],
        settings=AADSettings(**config.model.aad),
        dtype=compute_dtype(config),
    )
    attribute = _attribute_shapes(config)[level]
    inputs = {
        "x": _shape(config, *attribute.shape[1:3], channels[level]),
        "attribute": attribute,
        "identity": _shape(config, config.identity.embedding_size, dtype=jnp.float32),
    }

    def apply(variables, given):
        return block.apply(variables, *(given[name] for name in inputs), True)[0]

    def init():
        zeros = [jnp.zeros((1, *shape.shape[1:]), shape.dtype) for shape in inputs.values()]
        return block.init(jax.random.key(0), *zeros, True)

    return _with_gradients(apply, jax.eval_shape(init), inputs)


def _discriminator(config: ConfigDict, scale: int) -> Part:
    settings = {key: value for key, value in config.discriminator.items() if key != "num_scales"}
    module = PatchDiscriminator(**settings, dtype=compute_dtype(config))
    size = config.image_size // 2**scale
    inputs = {"picture": _shape(config, size, size, 3, dtype=jnp.float32)}
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    return _with_gradients(lambda p, given: module.apply(p, given["picture"]), params, inputs)


def _upsample(config: ConfigDict) -> Part:
    inputs = {"x": _attribute_shapes(config)[-2]}
    return _with_gradients(lambda _, given: upsample(given["x"]), {}, inputs)


def _attribute_loss(config: ConfigDict) -> Part:
    shapes = tuple(_attribute_shapes(config))
    inputs = {"swap": shapes, "target": shapes}
    return _with_gradients(
        lambda _, given: losses.attribute_loss(given["swap"], given["target"]), {}, inputs
    )


def _optimizer(config: ConfigDict) -> Part:
    """The update of ten of the largest kernels: Adam, the average, the norm and the guard."""
    size = max(config.model.generator_channels)
    kernel = jax.ShapeDtypeStruct((3, 3, size, size), jnp.float32)
    params = {f"kernel_{i}": kernel for i in range(10)}
    optimizer = build_optimizer(config.optimizer.generator, config.num_steps)

    def update(state, frozen, batch):
        del frozen
        # Sums over the chips, as real gradients are.
        grads = {
            name: jnp.einsum("bki,bo->kio", batch[name], batch["output"]).reshape(kernel.shape)
            for name in params
        }
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        updated = optax.apply_updates(state.params, updates)
        average = average_weights(state.ema_params, updated, state.step, config.ema_decay)
        state = TrainState(state.step + 1, updated, {}, opt_state, average)
        return state, gradient_norms({"generator": grads})

    state = TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32),
        params=params,
        batch_stats={},
        opt_state=jax.eval_shape(optimizer.init, params),
        ema_params=params,
    )
    batch = {name: _shape(config, 9, size) for name in params}
    batch |= {"output": _shape(config, size), REQUEST: _shape(config, dtype=jnp.int32)}
    return guard_step(update, None), (state, {}, batch)
