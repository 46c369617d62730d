"""The HEAR-Net of taotaonice/FaceShifter."""

from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.fill import fill
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.families.taotaonice import CHANNEL_ORDER
from faceshifter_jax.convert.layouts import UP_CONV
from faceshifter_jax.models import HEARNet
from faceshifter_jax.networks.build import module_settings
from faceshifter_jax.networks.network import Network


def _convert(state: StateDict) -> Converted:
    family = "taotaonice HEAR-Net"
    levels = state.count(r"down(\d+)\.") - 1
    widths = tuple(state.shape(f"down{i}.0.weight", 4)[0] for i in range(1, levels + 1))
    module = HEARNet(widths, use_bias="down1.0.bias" in state)

    def module_key(name: str) -> str:
        if name == "picture":
            return f"up{levels}"
        way, *norm, number = name.split("_")
        return f"{way}{int(number) + 1}.{len(norm)}"

    picture = (1, 2**levels, 2**levels, 3)
    layouts = {f"up_{i}": UP_CONV for i in range(levels - 1)}
    variables = fill(module, (picture,) * 2, state, module_key, family=family, layouts=layouts)
    network = Network("HEARNet", module_settings(module), variables, channel_order=CHANNEL_ORDER)
    return Converted({"hear": network}, family)


FAMILY = Family(
    known="taotaonice/FaceShifter HEAR-Net: second stage",
    claims=lambda state: state.has_key_like(r"(down|up)\d+\.0\.weight", kernel=4),
    convert=_convert,
)
