"""Moving the places of a picture: sampling it where a flow points."""

import jax
import jax.numpy as jnp

from faceshifter_jax.models.layers import upsample_centred

# Flow is predicted in 64ths of a picture's side, so that 1 is what two people's faces differ by.
_STEPS = 64


def smooth_flow(x: jax.Array) -> jax.Array:
    """Turns a network's output (B, S, S, 2) into a flow in pixels that changes slowly.

    Averages over 4x4 pixels and interpolates between them: a flow with an edge at every pixel can
    draw anything, and tears what it moves.

    Args:
      x: rows and columns, in 64ths of the side S, which is a multiple of 4.
    """
    batch, height, width, _ = x.shape
    coarse = x.reshape(batch, height // 4, 4, width // 4, 4, 2).mean((2, 4))
    return upsample_centred(upsample_centred(coarse)) * (height / _STEPS)


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
