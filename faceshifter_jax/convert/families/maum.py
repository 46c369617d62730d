"""The AEI-Net of maum-ai/faceshifter: batch normalisation, pictures in [0, 1]."""

from faceshifter_jax.convert.families.aei import AAD_NAMES, convert_generator
from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.resnet import VIEW, convert_resnet, has_bottlenecks
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.networks.contract import Contract, WantedIdentity

_AAD = {**AAD_NAMES, "gamma_id": "fc_1", "beta_id": "fc_2", "mask": "conv_f", "batch_norm": "BNorm"}
_UNITS = {"0": 1, "1": 2, "skip": 3}
# aei_net.py, aei_inference.py and preprocess/preprocess.py of maum-ai/faceshifter.
_CONTRACT = Contract(
    alignment="ffhq",
    view=VIEW,
    identity=WantedIdentity(
        "a ResNet-101 of 256 numbers, which maum-ai/faceshifter links to and its checkpoints hold",
        (("architecture", "ResNet"), ("depth", 101)),
    ),
)
_IDENTITY = "Z."
# What else a checkpoint of its training holds.
_OTHERS = {
    _IDENTITY: "its identity network, but no torchvision ResNet",
    "D.": "its discriminator, which has batch normalisation",
}


def _module_key(part: str, name: str, *inner: str) -> str:
    if name == "start":
        return "G.convt"
    kind, number = name.rsplit("_", 1)
    if part == "encoder":
        way = "Encoder" if kind.startswith("down") else "Decoder"
        return f"E.{way}.layer_{number}.{int(kind.endswith('norm'))}"
    kind, unit = inner[0].split("_")
    block = f"G.model.layer_{number}"
    if kind == "conv":
        return f"{block}.conv{_UNITS[unit]}"
    return f"{block}.add{_UNITS[unit]}.{_AAD[inner[1]]}"


def _convert(state: StateDict) -> Converted:
    family = "maum-ai AEI-Net"
    networks = {}
    others = dict(_OTHERS)
    if has_bottlenecks(state.within(_IDENTITY)):
        networks |= convert_resnet(state.within(_IDENTITY)).networks
        del others[_IDENTITY]
    counts = {prefix: len(state.within(prefix)) for prefix in others}
    notes = tuple(
        f"left out: {count} tensors under {prefix}, {others[prefix]}"
        for prefix, count in counts.items()
        if count
    )
    network = convert_generator(
        state.without(*_OTHERS),
        _module_key,
        family,
        contract=_CONTRACT,
        norm="batch",
        output="sigmoid",
        input_range="unit",
    )
    return Converted({"generator": network, **networks}, family, notes)


FAMILY = Family(
    known="maum-ai/faceshifter AEI-Net (G.* and E.* of its checkpoints): generator",
    claims=lambda state: state.has_key_like(r"G\.model\.layer_\d+\.add\d\..*|E\.(En|De)coder\..*"),
    convert=_convert,
)
