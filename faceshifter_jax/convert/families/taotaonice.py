"""The AEI-Net of taotaonice/FaceShifter, which other ports took over with its keys."""

from faceshifter_jax.convert.families.aei import AAD_NAMES, convert_generator
from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.networks.contract import ARCFACE_CROP, Contract, View, WantedIdentity

_ENCODER = {
    "down": "conv{}.0",
    "down_norm": "conv{}.1",
    "up": "deconv{}.deconv",
    "up_norm": "deconv{}.bn",
}
_UNITS = {"0": 1, "1": 2, "skip": 3}
# inference_demo.py and face_modules/mtcnn_pytorch/src/align_trans.py of taotaonice/FaceShifter:
# OpenCV reads the pictures, and their channels stay in its order, BGR.
CHANNEL_ORDER = "bgr"
_CONTRACT = Contract(
    alignment="taotaonice",
    view=View(ARCFACE_CROP, "corners"),
    identity=WantedIdentity(
        "IR-SE50 (model_ir_se50.pth of TreB1eN/InsightFace_Pytorch)",
        (
            ("architecture", "IResNet"),
            ("depth", 50),
            ("variant", "ir"),
            ("squeeze_excitation", True),
        ),
        channel_order="bgr",
    ),
)


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
    network = convert_generator(
        state, _module_key, family, contract=_CONTRACT, channel_order=CHANNEL_ORDER
    )
    return Converted({"generator": network}, family)


FAMILY = Family(
    known="taotaonice/FaceShifter AEI-Net, also that of early ghost: generator",
    claims=lambda state: state.has_key_like(r"generator\.AADBlk\d+\.AAD\d+\..*"),
    convert=_convert,
)
