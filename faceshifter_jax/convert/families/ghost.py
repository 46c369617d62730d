"""The AEI-Nets of ai-forever/ghost: one to three AAD units in a block, two kinds of skips."""

from faceshifter_jax.convert.families.aei import AAD_NAMES, convert_generator
from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.convert.families.taotaonice import outer_key
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.contract import WHOLE, Contract, View, WantedIdentity

# A unit is an AAD layer, a ReLU and a convolution.
_LAYERS_OF_A_UNIT = 3
# utils/inference/core.py and image_processing.py of ai-forever/ghost.
_CONTRACT = Contract(
    alignment="insightface-0.2",
    side=224,
    embedding="raw",
    view=View(WHOLE, "corners"),
    identity=WantedIdentity(
        "ghost's own IResNet-100 (arcface/backbone.pth of its releases)",
        (("architecture", "IResNet"), ("depth", 100), ("variant", "iresnet")),
        is_one_of_many=True,
    ),
)


def _module_key(part: str, name: str, *inner: str) -> str:
    outer = outer_key(part, name)
    if not inner:
        return outer
    kind, unit = inner[0].split("_")
    layers = "last_add_block" if unit == "skip" else "add_blocks"
    index = 0 if unit == "skip" else _LAYERS_OF_A_UNIT * int(unit)
    if kind == "conv":
        return f"{outer}.{layers}.{index + 2}"
    return f"{outer}.{layers}.{index}.{AAD_NAMES[inner[1]]}"


def _convert(state: StateDict) -> Converted:
    if state.has_module("encoder.layer1") or state.has_module("encoder.conv0"):
        raise UserError(
            f"{state.path} is a ghost AEI-Net with the resnet backbone, which is not supported: "
            "take ghost's unet or linknet weights"
        )
    num_layers = state.count(r"generator\.AADBlk\d+\.add_blocks\.(\d+)\.")
    num_units = -(-num_layers // _LAYERS_OF_A_UNIT)
    if num_units > 3:
        raise UserError(f"{state.path} is a ghost AEI-Net of {num_units} blocks; 3 is the most")
    network = convert_generator(
        state, _module_key, "a ghost AEI-Net", contract=_CONTRACT, num_units=num_units
    )
    backbone = "linknet" if network.settings["encoder_skip"] == "add" else "unet"
    blocks = f"{num_units} block{'s' if num_units > 1 else ''}"
    return Converted({"generator": network}, f"ghost AEI-Net, {backbone}, {blocks}")


FAMILY = Family(
    known="ai-forever/ghost AEI-Net, unet and linknet, 1 to 3 blocks: generator",
    claims=lambda state: state.has_key_like(r"generator\.AADBlk\d+\.add_blocks\..*"),
    convert=_convert,
)
