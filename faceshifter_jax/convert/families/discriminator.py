"""The multi-scale patch discriminator of taotaonice/FaceShifter, after pix2pixHD."""

from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.fill import fill
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.families.taotaonice import CHANNEL_ORDER
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import MultiscaleDiscriminator
from faceshifter_jax.networks.build import module_settings
from faceshifter_jax.networks.network import Network

_ANY_SIZE = 64
_OF_GHOST = (
    "taotaonice's takes BGR pictures; for ghost's, which has the same keys and takes RGB, say "
    "--channel-order rgb"
)


def _index(conv: int) -> int:
    """The place of a convolution: the first is followed by a ReLU, the others also by a norm."""
    return max(0, 3 * conv - 1)


def _convert(state: StateDict) -> Converted:
    if state.has_key_like(r"layer\d+\.\d+\.running_mean"):
        raise UserError(
            f"{state.path} is a discriminator with batch normalisation, which is not supported: "
            "training starts with a fresh one without it"
        )
    num_scales = state.count(r"layer(\d+)\.")
    widths = [state.shape(f"layer{i}.0.weight", 4)[0] for i in range(num_scales)]
    last = state.count(r"layer\d+\.(\d+)\.") // 3
    num_layers = last - 1
    if num_layers < 1:
        raise UserError(f"{state.path}: its discriminators have only {last + 1} convolutions")
    module = MultiscaleDiscriminator(num_scales, widths[0], num_layers)

    def module_key(scale: str, conv: str) -> str:
        # Their last sees the full size, ours the first.
        layer = num_scales - 1 - int(scale.removeprefix("scale_"))
        place = last if conv == "scores" else int(conv.removeprefix("conv_"))
        return f"layer{layer}.{_index(place)}"

    family = f"taotaonice discriminator, {num_scales} scales, {num_layers} layers"
    picture = (1, _ANY_SIZE, _ANY_SIZE, 3)
    variables = fill(module, (picture,), state, module_key, family=family)
    network = Network(
        "MultiscaleDiscriminator", module_settings(module), variables, channel_order=CHANNEL_ORDER
    )
    return Converted({"discriminator": network}, family, (_OF_GHOST,))


FAMILY = Family(
    known="taotaonice/FaceShifter and ghost multi-scale discriminator (instance normalisation)",
    claims=lambda state: state.has_key_like(r"layer\d+\.\d+\.weight", kernel=4),
    convert=_convert,
)
