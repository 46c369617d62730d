"""The AEI-Net of taotaonice/FaceShifter, which other ports took over with its keys."""

from faceshifter_jax.convert.families.aei import AAD_NAMES, convert_generator
from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.state_dict import StateDict

_ENCODER = {
    "down": "conv{}.0",
    "down_norm": "conv{}.1",
    "up": "deconv{}.deconv",
    "up_norm": "deconv{}.bn",
}
_UNITS = {"0": 1, "1": 2, "skip": 3}


def outer_key(part: str, name: str) -> str:
    """The key of a module in the encoder, or of one that the generator's parts are in."""
    if name == "start":
        return "generator.up1"
    kind, number = name.rsplit("_", 1)
    if part == "encoder":
        return "encoder." + _ENCODER[kind].format(int(number) + 1)
    return f"generator.AADBlk{int(number) + 1}"


def _module_key(part: str, name: str, *inner: str) -> str:
    outer = outer_key(part, name)
    if not inner:
        return outer
    kind, unit = inner[0].split("_")
    if kind == "conv":
        return f"{outer}.conv{_UNITS[unit]}"
    return f"{outer}.AAD{_UNITS[unit]}.{AAD_NAMES[inner[1]]}"


def _convert(state: StateDict) -> Converted:
    family = "taotaonice AEI-Net"
    return Converted({"generator": convert_generator(state, _module_key, family)}, family)


FAMILY = Family(
    known="taotaonice/FaceShifter AEI-Net, also that of early ghost: generator",
    claims=lambda state: state.has_key_like(r"generator\.AADBlk\d+\.AAD\d+\..*"),
    convert=_convert,
)
