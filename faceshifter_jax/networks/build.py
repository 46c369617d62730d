"""Networks from their settings."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import (
    AEINet,
    HEARNet,
    IResNet,
    MobileFaceNet,
    MultiscaleDiscriminator,
    ResNet,
)
from faceshifter_jax.networks.contract import (
    EMBEDDINGS,
    REGION_SIDE,
    REGIONS,
    RESIZES,
    Contract,
    View,
)
from faceshifter_jax.networks.network import Network, plain

_MODULES = {
    module.__name__: module
    for module in (IResNet, MobileFaceNet, ResNet, AEINet, HEARNet, MultiscaleDiscriminator)
}
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def compute_dtype(config: Mapping[str, Any]) -> Any:
    """The dtype of `config.compute_dtype`; UserError if it is unknown."""
    name = config["compute_dtype"]
    if name not in _DTYPES:
        raise UserError(f"config.compute_dtype must be one of {sorted(_DTYPES)}, not {name!r}")
    return _DTYPES[name]


def remat_blocks(config: Mapping[str, Any]) -> bool:
    """Whether `config.remat` asks for the AAD blocks; UserError if it is unknown."""
    if config["remat"] not in ("none", "aad"):
        raise UserError(f"config.remat must be 'none' or 'aad', not {config['remat']!r}")
    return config["remat"] == "aad"


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, list | tuple):
        return [number for item in value for number in _whole_numbers(item)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def build_network(network: Network, section: str = "", **extra: Any) -> nn.Module:
    """The module of a trained network; `extra` sets dtype, axis name and the like.

    Args:
      network: what it is.
      section: of the config that its settings come from, for messages.

    Raises:
      UserError: an architecture that this version does not know, a setting that it does not have,
        or a whole number less than 1.
    """
    if network.architecture not in _MODULES:
        known = ", ".join(sorted(_MODULES))
        raise UserError(f"this version knows no network {network.architecture!r}, only {known}")
    module = _MODULES[network.architecture]
    return _build(module, network.settings, section or module.__name__, **extra)


def _build(module: Any, settings: Mapping[str, Any], section: str, **extra: Any) -> Any:
    """A dataclass of its settings; lists, as JSON has them, become tuples."""
    known = {field.name: field.type for field in dataclasses.fields(module)}
    given = {}
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"{module.__name__} has no setting {key!r}; it has {sorted(known)}")
        if isinstance(known[key], type) and dataclasses.is_dataclass(known[key]):
            given[key] = _build(known[key], value, f"{section}.{key}")
            continue
        # All whole numbers are counts or sizes.
        if any(number < 1 for number in _whole_numbers(value)):
            raise UserError(f"{section}.{key} must be at least 1, not {value}")
        given[key] = plain(value)
    return module(**given, **extra)


def module_settings(module: nn.Module) -> dict[str, Any]:
    """The keyword arguments that make `module`, but for what a run decides, as plain values."""
    left_out = ("parent", "name", "dtype", "axis_name", "folded", "remat")
    return {
        field.name: _plain(getattr(module, field.name))
        for field in dataclasses.fields(module)
        if field.name not in left_out
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def build_contract(config: Mapping[str, Any]) -> Contract:
    """How the generator of an `aei` config is fed; configs from before there were settings of it
    mean the usual way.

    Raises:
      UserError: a setting that is not possible.
    """
    identity, usual = config["identity"], Contract()
    region = tuple(identity.get("region", usual.view.region))
    try:
        return Contract(
            alignment=config["data"].get("alignment", usual.alignment),
            embedding=identity.get("embedding", usual.embedding),
            view=View(region, identity.get("resize", usual.view.resize)),
        )
    except (TypeError, ValueError) as error:
        raise UserError(
            f"config.data.alignment must be one of {', '.join(REGIONS)}, config.identity.embedding "
            f"one of {', '.join(EMBEDDINGS)}, config.identity.resize one of {', '.join(RESIZES)}, "
            f"and config.identity.region two numbers from 0 to {REGION_SIDE}, the first the "
            f"smaller one ({error})"
        ) from error


def check_fits(module: nn.Module, variables: Mapping[str, Any], *inputs: Any, path: str) -> None:
    """Checks that `variables` are what `module` needs for inputs of these shapes.

    Raises:
      UserError: names the first parameter that is missing, too much, or of another shape.
    """
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    wanted: dict[str, Any] = traverse_util.flatten_dict(dict(shapes), sep="/")
    given: dict[str, Any] = traverse_util.flatten_dict(dict(variables), sep="/")
    for name in sorted(wanted.keys() | given.keys()):
        found = [tuple(tree[name].shape) if name in tree else None for tree in (given, wanted)]
        if found[0] != found[1]:
            raise UserError(
                f"the weights in {path} do not fit this version's {type(module).__name__}: "
                f"{name} has shape {found[0]}, needed is {found[1]}; train or convert them again"
            )
