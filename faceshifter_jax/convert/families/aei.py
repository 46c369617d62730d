"""Common parts of the published AEI-Nets: our settings, read from their shapes."""

from collections.abc import Callable
from typing import Any

from faceshifter_jax.convert.families.fill import fill
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.layouts import UP_CONV, Layout, first_map
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AADSettings, AEINet
from faceshifter_jax.networks.build import module_settings
from faceshifter_jax.networks.contract import Contract
from faceshifter_jax.networks.network import Network

# Names of an AAD layer's convolutions and dense layers in most of them.
AAD_NAMES = {
    "gamma_att": "conv1",
    "beta_att": "conv2",
    "gamma_id": "fc1",
    "beta_id": "fc2",
    "mask": "conv_h",
}
_MOST_LEVELS = 12


def convert_generator(
    state: StateDict,
    module_key: Callable[..., str],
    family: str,
    *,
    contract: Contract,
    channel_order: str = "rgb",
    num_units: int = 2,
    norm: str = "instance",
    **fixed: Any,
) -> Network:
    """Converts an AEI-Net.

    Args:
      state: its tensors.
      module_key: see `fill`.
      family: what to call it in messages.
      contract, channel_order: see `Network`; no file says them.
      num_units, norm: see `AADSettings`; keys and shapes say all others.
      **fixed: settings of `AEINet` that keys and shapes do not say.

    Raises:
      UserError: what `fill` refuses, or settings that our network does not have.
    """

    def shape(num_dimensions: int, *path: str) -> tuple[int, ...]:
        return state.shape(f"{module_key(*path)}.weight", num_dimensions)

    down = [f"down_{i}" for i in range(_MOST_LEVELS)]
    found = (i + 1 for i, name in enumerate(down) if state.has_module(module_key("encoder", name)))
    levels = max(found, default=1)
    encoder_channels = tuple(shape(4, "encoder", name)[0] for name in down[:levels])
    embedding_size, first_width, side, _ = shape(4, "generator", "start")
    last_conv = f"conv_{num_units - 1}"
    widths = [shape(4, "generator", f"block_{i}", last_conv)[0] for i in range(levels)]
    module = AEINet(
        encoder_channels=encoder_channels,
        generator_channels=(first_width, *widths),
        aad=_find_aad_settings(state, module_key, shape, num_units=num_units, norm=norm),
        encoder_skip=_find_skip(encoder_channels, shape),
        encoder_bias=f"{module_key('encoder', down[0])}.bias" in state,
        **fixed,
    )
    size = side * 2**levels
    return Network(
        architecture="AEINet",
        settings=module_settings(module),
        variables=fill(
            module,
            ((1, size, size, 3), (1, embedding_size)),
            state,
            module_key,
            family=family,
            layouts=_layouts(levels, side),
        ),
        embedding_size=embedding_size,
        image_size=size,
        channel_order=channel_order,
        contract=contract,
    )


def _layouts(levels: int, side: int) -> dict[str, Layout]:
    return {"start": first_map(side), **{f"up_{i}": UP_CONV for i in range(levels - 1)}}


def _find_skip(encoder_channels: tuple[int, ...], shape: Callable[..., tuple[int, ...]]) -> str:
    """How skips join: the second block's attributes are as wide as one map of two, or as both."""
    if len(encoder_channels) < 2:
        return "concat"
    attribute_width = shape(4, "generator", "block_1", "aad_0", "gamma_att")[1]
    return "add" if attribute_width == encoder_channels[-2] else "concat"


def _find_aad_settings(
    state: StateDict,
    module_key: Callable[..., str],
    shape: Callable[..., tuple[int, ...]],
    **fixed: Any,
) -> AADSettings:
    layer = ("generator", "block_0", "aad_0")
    mask = shape(4, *layer, "mask")
    try:
        return AADSettings(
            attribute_kernel=shape(4, *layer, "gamma_att")[2],
            mask_kernel=mask[2],
            mask_per_channel=mask[0] > 1,
            use_bias=f"{module_key(*layer, 'gamma_att')}.bias" in state,
            conv_bias=f"{module_key('generator', 'block_0', 'conv_0')}.bias" in state,
            **fixed,
        )
    except UserError as error:
        raise UserError(f"{state.path}: {error}") from error
