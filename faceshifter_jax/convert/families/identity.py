"""Common parts of the two published layouts of ArcFace's residual networks."""

import math
from collections.abc import Callable

from faceshifter_jax.convert.families.family import Converted
from faceshifter_jax.convert.families.fill import fill
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.layouts import POINTWISE, flattened_dense
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import STAGE_BLOCKS, IResNet
from faceshifter_jax.networks.build import module_settings
from faceshifter_jax.networks.network import InputFormat, Network

_HALVINGS = 4


def convert_identity(
    state: StateDict,
    family: str,
    blocks: tuple[int, ...],
    module_key: Callable[..., str],
    *,
    variant: str,
    squeeze_excitation: bool = False,
    channel_order: str = "rgb",
) -> Converted:
    """Converts a residual network for 112-pixel faces, or for others of 16 times a whole number.

    Args:
      state: its tensors.
      family: its name but for the depth.
      blocks: the residual blocks of each stage.
      module_key: see `fill`.
      variant, squeeze_excitation: see `IResNet`.
      channel_order: of the pictures that it was trained on.

    Raises:
      UserError: an unknown depth, a map that is not square, or what `fill` refuses.
    """
    depth = _find_depth(state, blocks)
    width = state.shape(f"{module_key('stem')}.weight", 4)[0]
    dense = f"{module_key('embedding')}.weight"
    embedding_size, num_inputs = state.shape(dense, 2)
    channels = 8 * width
    side = math.isqrt(num_inputs // channels)
    if side == 0 or num_inputs != channels * side**2:
        raise UserError(
            f"{state.path}: {dense} takes {num_inputs} numbers, which do not form a square map of "
            f"{channels} channels"
        )
    module = IResNet(depth, width, embedding_size, variant, squeeze_excitation)
    size = side * 2**_HALVINGS
    name = f"{family}-{depth}" + ("" if width == 64 else f" of width {width}")
    layouts = {
        "embedding": flattened_dense(channels, side),
        "reduce": POINTWISE,
        "expand": POINTWISE,
    }
    variables = fill(module, ((1, size, size, 3),), state, module_key, family=name, layouts=layouts)
    network = Network(
        architecture="IResNet",
        settings=module_settings(module),
        variables=variables,
        embedding_size=embedding_size,
        input=InputFormat(size, channel_order),
    )
    return Converted({"identity": network}, name)


def _find_depth(state: StateDict, blocks: tuple[int, ...]) -> int:
    for depth, known in STAGE_BLOCKS.items():
        if blocks == known:
            return depth
    depths = ", ".join(f"{depth}: {known}" for depth, known in STAGE_BLOCKS.items())
    raise UserError(
        f"{state.path} has {blocks} residual blocks in its stages, an unknown depth ({depths})"
    )
