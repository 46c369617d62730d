"""Turning the parameters of a finished training run into standalone networks."""

from collections.abc import Mapping
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_contract
from faceshifter_jax.networks.contract import REGIONS, View
from faceshifter_jax.networks.network import InputFormat, Network


def trained_networks(
    config: Mapping[str, Any], params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> dict[str, Network]:
    """Returns role -> network for a training run; nothing for an unknown task.

    Args:
      config: the complete config of the training run.
      params: player -> parameters.
      batch_stats: player -> running statistics.
    """
    find = {"arcface": _of_arcface, "aei": _of_aei, "hear": _of_hear}.get(config.get("task"))
    return find(config, params, batch_stats) if find else {}


def _of_arcface(config, params, batch_stats) -> dict[str, Network]:
    settings = dict(config["model"])
    size = settings.pop("input_size")
    settings.pop("num_classes")
    network = Network(
        architecture="IResNet",
        settings=settings,
        variables={
            "params": params["classifier"]["network"],
            "batch_stats": batch_stats["classifier"],
        },
        embedding_size=settings["embedding_size"],
        input=identity_input(size, config["data"].get("alignment", "arcface")),
    )
    return {"identity": network}


def identity_input(size: int, alignment: str) -> InputFormat:
    """What an identity network takes that is trained on pictures of an alignment, see `REGIONS`.

    Raises:
      UserError: there is no such alignment.
    """
    if alignment not in REGIONS:
        raise UserError(f"config.data.alignment must be one of {', '.join(REGIONS)}")
    return InputFormat(size, alignment=alignment, view=View(REGIONS[alignment]))


def _of_aei(config, params, batch_stats) -> dict[str, Network]:
    generator = Network(
        architecture="AEINet",
        settings=config["model"],
        variables={"params": params["generator"], "batch_stats": batch_stats["generator"]},
        embedding_size=config["identity"]["embedding_size"],
        image_size=config["image_size"],
        contract=build_contract(config),
    )
    discriminator = Network(
        architecture="MultiscaleDiscriminator",
        settings=config["discriminator"],
        variables={"params": params["discriminator"], "batch_stats": {}},
        image_size=config["image_size"],
    )
    return {"generator": generator, "discriminator": discriminator}


def _of_hear(config, params, batch_stats) -> dict[str, Network]:
    network = Network(
        architecture="HEARNet",
        settings=config["model"],
        variables={"params": params["hear"], "batch_stats": batch_stats["hear"]},
        image_size=config["image_size"],
    )
    return {"hear": network}
