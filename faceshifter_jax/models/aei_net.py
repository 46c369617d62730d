"""AEI-Net, the first stage of FaceShifter (arXiv 1912.13457, section 3.1)."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from faceshifter_jax.errors import UserError
from faceshifter_jax.models.aad import AADResBlock, AADSettings, IdentityTerms
from faceshifter_jax.models.attribute_encoder import AttributeEncoder
from faceshifter_jax.models.layers import upsample, upsample_centred
from faceshifter_jax.models.warp import enlarge, move_and_add, reduce

# Output -> channels of the last block, where they are not those of a picture.
_CHANNELS = {"blend": 4, "warp": 5}


class AEIOutput(NamedTuple):
    """AEI-Net's results for a batch.

    Attributes:
      image: (B, S, S, 3) float32 in [-1, 1], the swap.
      attributes: the target's feature maps, coarse to fine, level k of size 2**k times the
        first.
      masks: for each level the masks M of its AAD layers, each (B, H, W, 1 or C) in [0, 1];
        1 where the identity dominates. A compiled function that does not return them does not
        compute anything for them.
    """

    image: jax.Array
    attributes: tuple[jax.Array, ...]
    masks: tuple[tuple[jax.Array, ...], ...]


class IdentityModulation(NamedTuple):
    """The contribution of identities to the generator's pictures; computed once for each source.

    Attributes:
      start: (B, H, W, C), the first map.
      blocks: for each block, by the name of its AAD layers, their gamma_id and beta_id, (B, C).
    """

    start: jax.Array
    blocks: tuple[dict[str, IdentityTerms], ...]


class FirstMap(nn.Module):
    """A transposed convolution, without its bias, of the identity, seen as a 1x1 picture."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, identity: jax.Array, height: int, width: int) -> jax.Array:
        """Maps identities (B, E) to (B, height, width, features)."""
        shape = (identity.shape[-1], height * width * self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        x = identity.astype(self.dtype) @ kernel.astype(self.dtype)
        return x.reshape(-1, height, width, self.features)


class AADGenerator(nn.Module):
    """Builds a picture from an identity and multi-level attributes.

    Attributes:
      channels: width of the first map, then the output width of every block but the last,
        whose output has 3 channels or what `output` asks for; a level for each of the attributes.
      output: what the last block outputs: `tanh`, the picture; `sigmoid`, likewise for networks
        trained on [0, 1] pictures, whose output is mapped to [-1, 1]; `change`, what is added to
        the target; `blend`, a picture and a mask in which it replaces the target (as the semantic
        facial fusion of HifiFace, arXiv 2106.09965, section 3.3); `warp`, a flow that moves the
        target's places and what is added after that: two people under the same attributes differ
        first of all in where things are.
      change_pixels: of `warp`, how coarse the change is that it adds: 1, as fine as the blocks
        draw; 2, 4 or 8, averaged over squares of so many pixels, so that it can tint but not draw.
        An outline then cannot fade at its old place while a new one appears: it has to move.
      flow_pixels: likewise of the flow: a flow with an edge at every pixel can draw anything, and
        tears what it moves.
      up: bilinear doubling between the blocks that maps `corners` onto corners (paper), or
        pixel areas onto pixel areas, `centres`.
      remat: compute the inside of each block again for its gradient rather than keep it.
    """

    channels: tuple[int, ...] = (1024, 1024, 1024, 1024, 512, 256, 128, 64)
    settings: AADSettings = AADSettings()
    output: str = "tanh"
    change_pixels: int = 1
    flow_pixels: int = 4
    up: str = "corners"
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    def setup(self):
        if self.up not in ("corners", "centres"):
            raise UserError(f"generator_up must be 'corners' or 'centres', not {self.up!r}")
        block_class = AADResBlock
        if self.remat:
            # The last argument of `blend(self, x, attribute, identity_terms, train)` is not an
            # array.
            block_class = nn.remat(AADResBlock, static_argnums=4, methods=["blend"])
        self.start = FirstMap(self.channels[0], self.dtype)
        self.start_bias = self.param(
            "start_bias", nn.initializers.zeros, (self.channels[0],), jnp.float32
        )
        last = _CHANNELS.get(self.output, 3)
        self.block = [
            block_class(width, features, self.settings, self.dtype, self.axis_name)
            for width, features in itertools.pairwise((*self.channels, last))
        ]

    def identity_terms(self, identity: jax.Array, height: int, width: int) -> IdentityModulation:
        """Computes the contribution of identities, which does not depend on the attributes.

        Args:
          identity: (B, E), unit length.
          height, width: size in pixels of the coarsest attributes.
        """
        start = self.start(identity, height, width)
        start = start + self.start_bias.astype(start.dtype)
        return IdentityModulation(
            start, tuple(block.identity_terms(identity) for block in self.block)
        )

    def __call__(
        self,
        target: jax.Array,
        attributes: tuple[jax.Array, ...],
        identity_terms: IdentityModulation,
        train: bool,
    ) -> tuple[jax.Array, tuple[tuple[jax.Array, ...], ...]]:
        """Returns the picture (B, S, S, 3) float32 in [-1, 1] and each level's masks."""
        x = identity_terms.start
        double = upsample if self.up == "corners" else upsample_centred
        masks = []
        for level, block in enumerate(self.block):
            x = double(x) if level else x
            x, level_masks = block.blend(x, attributes[level], identity_terms.blocks[level], train)
            masks.append(level_masks)
        return self._draw(x.astype(jnp.float32), target), tuple(masks)

    def _draw(self, x: jax.Array, target: jax.Array) -> jax.Array:
        if self.output == "tanh":
            return jnp.tanh(x)
        if self.output == "sigmoid":
            return 2 * nn.sigmoid(x) - 1
        if self.output == "change":
            factor = target.shape[1] // x.shape[1]
            return _clip_straight_through(target + enlarge(x, factor))
        if self.output == "blend":
            mask = nn.sigmoid(x[..., 3:])
            return (1 - mask) * target + mask * jnp.tanh(x[..., :3])
        if self.output == "warp":
            moved = move_and_add(target, x, self.change_pixels, self.flow_pixels)
            return _clip_straight_through(moved)
        raise UserError(
            f"output must be 'tanh', 'sigmoid', 'change', 'blend' or 'warp', not {self.output!r}"
        )


def _clip_straight_through(x: jax.Array) -> jax.Array:
    """Clips to [-1, 1] with the gradient of no clipping, so that black and white can recover."""
    return x + jax.lax.stop_gradient(jnp.clip(x, -1, 1) - x)


def _check_factor(
    name: str, factor: int, default: int, output: str, outputs: tuple[str, ...]
) -> None:
    """Raises a UserError unless a setting is its default, or a factor and of use with `output`."""
    if factor == default or (factor in (1, 2, 4, 8) and output in outputs):
        return
    others = ", ".join(str(one) for one in (1, 2, 4, 8) if one != default)
    raise UserError(
        f"{name} must be {default}, or one of {others} with output "
        f"{' or '.join(map(repr, outputs))}, not {factor} with {output!r}"
    )


class AEINet(nn.Module):
    """Puts an identity into a target picture, keeping the target's attributes.

    Attributes:
      encoder_channels: see `AttributeEncoder.channels`.
      generator_channels: see `AADGenerator.channels`; one longer than `encoder_channels`. With an
        output of `change` or `warp` it may be shorter: the finest levels are then left out, and
        what the last one outputs is enlarged. Flows are smooth, and fine levels cost most.
      aad: settings of the AAD layers and blocks.
      encoder_skip, encoder_up, encoder_bias: see `AttributeEncoder.skip`, `up` and `use_bias`.
      identity_length: `unit`, embeddings as they are (paper), or `sqrt`, embeddings of E numbers
        scaled by sqrt(E) to numbers of about 1: of unit length, gamma_id and beta_id begin at
        1 / sqrt(E) of the attributes', and the network first learns to copy.
      output, change_pixels, flow_pixels: see `AADGenerator`.
      generator_up: see `AADGenerator.up`.
      reduction: the network works on targets that are smaller by this power of 2, and what it
        outputs is enlarged: for `change` and `warp`, which keep the target's fine detail.
      input_range: see `AttributeEncoder.input_range`; pictures are in [-1, 1] either way.
      folded: see `AttributeEncoder.folded`.
      dtype: dtype of the computation; parameters and the picture are float32.
      axis_name: pmapped axis of the batch normalisation, None outside pmap.
      remat: keep only the inputs of the AAD blocks for the gradients and compute their inside
        again: less memory, about a forward pass of the blocks more, the same numbers up to
        rounding.
    """

    encoder_channels: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 1024)
    generator_channels: tuple[int, ...] = (1024, 1024, 1024, 1024, 512, 256, 128, 64)
    aad: AADSettings = AADSettings()
    encoder_skip: str = "concat"
    encoder_up: str = "transposed"
    encoder_bias: bool = False
    identity_length: str = "unit"
    output: str = "tanh"
    change_pixels: int = 1
    flow_pixels: int = 4
    generator_up: str = "corners"
    reduction: int = 1
    input_range: str = "signed"
    folded: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    def setup(self):
        self._check_channels()
        if self.identity_length not in ("unit", "sqrt"):
            raise UserError(
                f"identity_length must be 'unit' or 'sqrt', not {self.identity_length!r}"
            )
        _check_factor("reduction", self.reduction, 1, self.output, ("change", "warp"))
        _check_factor("change_pixels", self.change_pixels, 1, self.output, ("warp",))
        _check_factor("flow_pixels", self.flow_pixels, 4, self.output, ("warp",))
        self.encoder = AttributeEncoder(
            self.encoder_channels,
            self.encoder_skip,
            self.encoder_up,
            self.encoder_bias,
            self.input_range,
            len(self.generator_channels),
            self.folded,
            self.dtype,
            self.axis_name,
        )
        self.generator = AADGenerator(
            self.generator_channels,
            self.aad,
            self.output,
            self.change_pixels,
            self.flow_pixels,
            self.generator_up,
            self.dtype,
            self.axis_name,
            self.remat,
        )

    def _check_channels(self) -> None:
        missing = len(self.encoder_channels) + 1 - len(self.generator_channels)
        if missing and self.output not in ("change", "warp"):
            raise UserError("generator_channels must be one longer than encoder_channels")
        if missing < 0 or not self.generator_channels:
            raise UserError("generator_channels must be at most one longer than encoder_channels")

    def __call__(self, target: jax.Array, identity: jax.Array, train: bool = False) -> AEIOutput:
        """Swaps faces.

        Args:
          target: (B, S, S, 3) in [-1, 1], S a multiple of reduction * 2**len(encoder_channels).
          identity: (B, E), the source's embedding, unit length.
          train: use the batch's statistics and update the running ones (`batch_stats`).
        """
        terms = self.identity_terms(identity, *target.shape[1:3])
        return self.swap_by_terms(target, terms, train)

    def identity_terms(self, identity: jax.Array, height: int, width: int) -> IdentityModulation:
        """Computes what identities (B, E) of unit length contribute to swaps of height x width."""
        scale = self.reduction * 2 ** len(self.encoder_channels)
        if self.identity_length == "sqrt":
            identity = identity * identity.shape[-1] ** 0.5
        return self.generator.identity_terms(identity, height // scale, width // scale)

    def swap_by_terms(
        self, target: jax.Array, terms: IdentityModulation, train: bool = False
    ) -> AEIOutput:
        """Like `__call__`, from the result of `identity_terms` for the identity and the target's
        size.

        The terms' batch is the target's, or 1 where all pictures get the same identity.
        """
        attributes = self.encode(target, train)
        image, masks = self.generator(target, attributes, terms, train)
        return AEIOutput(image, attributes, masks)

    def encode(self, image: jax.Array, train: bool = False) -> tuple[jax.Array, ...]:
        """Returns only the attributes of a picture (B, S, S, 3) in [-1, 1]."""
        height, width = image.shape[1:3]
        if height % self.reduction or width % self.reduction:
            raise UserError(
                f"with a reduction of {self.reduction}, the size of pictures must be a multiple of "
                f"it, not {height}x{width}"
            )
        return self.encoder(reduce(image, self.reduction), train)
