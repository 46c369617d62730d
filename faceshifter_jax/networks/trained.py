"""The description of the networks in a checkpoint, and the reader of checkpoints without one."""

from collections.abc import Mapping
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_contract
from faceshifter_jax.networks.contract import REGIONS, View
from faceshifter_jax.networks.file import describe_network, rebuild_network
from faceshifter_jax.networks.network import InputFormat, Network, Part, plain


def describe_parts(parts: Mapping[str, Part]) -> dict[str, Any]:
    """What the `meta` of a checkpoint says of its networks, role by role."""
    return {
        role: {
            **describe_network(part.network),
            "player": part.player,
            "inside": part.inside,
        }
        for role, part in parts.items()
    }


def parts_of(meta: Mapping[str, Any], path: str) -> dict[str, Part]:
    """Returns the networks that a checkpoint holds, role by role.

    Args:
      meta: what the checkpoint says of itself.
      path: of the checkpoint, for the error.

    Raises:
      UserError: it describes a network in a way that this version does not know.
    """
    if "networks" not in meta:
        return _parts_of_config(plain(meta["config"]))
    parts = {}
    try:
        for role, fields in meta["networks"].items():
            fields = dict(fields)
            player, inside = fields.pop("player"), fields.pop("inside")
            parts[role] = Part(rebuild_network(fields, {}), player, inside)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} describes a network in a way that this version does not know ({error}): use "
            "the version that wrote it"
        ) from error
    return parts


def identity_input(size: int, alignment: str) -> InputFormat:
    """What an identity network takes that is trained on pictures of an alignment, see `REGIONS`.

    Raises:
      UserError: there is no such alignment, or no such size.
    """
    if alignment not in REGIONS:
        raise UserError(f"config.data.alignment must be one of {', '.join(REGIONS)}")
    if size < 1:
        raise UserError(f"model.input_size must be at least 1, not {size}")
    return InputFormat(size, alignment=alignment, view=View(REGIONS[alignment]))


def _parts_of_config(config: Mapping[str, Any]) -> dict[str, Part]:
    """The networks of a checkpoint from before checkpoints described them."""
    task, model = config.get("task"), dict(config.get("model", {}))
    if task == "arcface":
        size = model.pop("input_size")
        model.pop("num_classes")
        taken = identity_input(size, config["data"].get("alignment", "arcface"))
        network = Network("IResNet", model, {}, embedding_size=model["embedding_size"], input=taken)
        return {"identity": Part(network, "classifier", "network")}
    if task == "hear":
        network = Network("HEARNet", model, {}, image_size=config["image_size"])
        return {"hear": Part(network, "hear")}
    if task != "aei":
        return {}
    size = config["image_size"]
    generator = Network(
        "AEINet",
        model,
        {},
        embedding_size=config["identity"]["embedding_size"],
        image_size=size,
        contract=build_contract(config),
    )
    discriminator = Network("MultiscaleDiscriminator", config["discriminator"], {}, image_size=size)
    return {
        "generator": Part(generator, "generator"),
        "discriminator": Part(discriminator, "discriminator"),
    }
