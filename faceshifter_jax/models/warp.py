"""Changing a picture by a network's output: moving its places, and adding to it."""

import jax
import jax.numpy as jnp

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import upsample_centred

# Flow is predicted in 64ths of a picture's side, so that 1 is what two people's faces differ by.
_STEPS = 64
# What is added is drawn more slowly than places move: else outlines that should move fade first.
_ADDED = 0.25


def move_and_add(
    target: jax.Array, x: jax.Array, change_pixels: int = 1, flow_pixels: int = 4
) -> jax.Array:
    """Moves the target's places by a flow, and adds a change.

    Args:
      target: (B, S, S, 3) in [-1, 1].
      x: a network's output (B, S / k, S / k, 5), k a power of 2: the change, and the flow as
        `smooth_flow` takes it.
      change_pixels: side of the squares of the output over which the change is averaged, a power of
        2; between their middles it is interpolated.
      flow_pixels: the same of the flow.

    Returns:
      (B, S, S, 3), not limited to [-1, 1].
    """
    factor = target.shape[1] // x.shape[1]
    flow = factor * enlarge(smooth_flow(x[..., 3:], flow_pixels), factor)
    change = enlarge(reduce(x[..., :3], change_pixels), factor * change_pixels)
    return warp(target, flow) + _ADDED * change


def enlarge(x: jax.Array, factor: int) -> jax.Array:
    """Enlarges (B, H, W, C) bilinearly by a power of 2."""
    while factor > 1:
        x, factor = upsample_centred(x), factor // 2
    return x


def reduce(x: jax.Array, factor: int) -> jax.Array:
    """Averages (B, H, W, C) over squares of `factor` pixels a side; UserError unless they fit."""
    if factor == 1:
        return x
    batch, height, width, channels = x.shape
    if height % factor or width % factor:
        raise UserError(
            f"squares of {factor} pixels a side do not fit into {height}x{width} pixels"
        )
    shape = (batch, height // factor, factor, width // factor, factor, channels)
    return x.reshape(shape).mean((2, 4))


def smooth_flow(x: jax.Array, pixels: int = 4) -> jax.Array:
    """Turns a network's output (B, S, S, 2) into a flow in pixels that changes slowly.

    Args:
      x: rows and columns, in 64ths of the side S, which is a multiple of `pixels`.
      pixels: side of the squares over which it is averaged, a power of 2; between their middles it
        is interpolated.
    """
    return enlarge(reduce(x, pixels), pixels) * (x.shape[1] / _STEPS)


def warp(picture: jax.Array, flow: jax.Array) -> jax.Array:
    """Samples a picture bilinearly at the place of each pixel plus its flow.

    Args:
      picture: (B, H, W, C), H and W at least 2.
      flow: (B, H, W, 2), rows and columns in pixels; places beyond the border show the border.

    Returns:
      (B, H, W, C), within the picture's range.
    """
    batch, height, width, channels = picture.shape
    rows = jnp.clip(jnp.arange(height)[:, None] + flow[..., 0], 0, height - 1)
    columns = jnp.clip(jnp.arange(width) + flow[..., 1], 0, width - 1)
    top = jnp.clip(jnp.floor(rows), 0, height - 2)
    left = jnp.clip(jnp.floor(columns), 0, width - 2)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    first = (top * width + left).astype(jnp.int32).reshape(batch, -1)
    pixels = picture.reshape(batch, -1, channels)

    def shifted(places: int) -> jax.Array:
        taken = jnp.take_along_axis(pixels, (first + places)[..., None], 1)
        return taken.reshape(batch, height, width, channels)

    upper = (1 - right) * shifted(0) + right * shifted(1)
    lower = (1 - right) * shifted(width) + right * shifted(width + 1)
    return (1 - down) * upper + down * lower
