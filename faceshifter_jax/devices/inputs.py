"""The shapes of a training step's inputs, without data and, if necessary, without weights."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AEINet
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.network import InputFormat, Network, Weights
from faceshifter_jax.tasks.arcface import CODE_SIZE
from faceshifter_jax.tasks.task import Task
from faceshifter_jax.training.config import Config

_NUM_IDENTITIES = 85_742
_EMBEDDING_SIZE = 512
_CROP_SIZE = 112

Shapes = Any
"""A tree of `jax.ShapeDtypeStruct`."""


def assume_num_classes(config: Config) -> list[str]:
    """Sets the number of classes of a classifier that would take it from a dataset.

    Returns:
      A line that says so, or none if the config has no such setting or it is already set. The
      number is that of MS1MV2, which ArcFace was trained on (arXiv 1801.07698, table 1).
    """
    if config.get("model", {}).get("num_classes") != 0:
        return []
    config.model.num_classes = _NUM_IDENTITIES
    return [f"assumed: config.model.num_classes={_NUM_IDENTITIES}, the identities of MS1MV2"]


def batch_shapes(config: Mapping[str, Any], batch_kind: str) -> Shapes:
    """Returns the shapes of a global batch of `data.build_loader`."""
    size, rows = config["image_size"], config["batch_size"]
    pictures = jax.ShapeDtypeStruct((rows, size, size, 3), jnp.uint8)
    batch = {}
    if config["data"].get("identity_views", 0):
        batch["view_seed"] = jax.ShapeDtypeStruct((rows,), jnp.uint32)
    if batch_kind == "identities":
        if config["data"].get("identity_codes", False):
            batch["code"] = jax.ShapeDtypeStruct((rows, CODE_SIZE), jnp.float32)
        return {**batch, "image": pictures, "label": jax.ShapeDtypeStruct((rows,), jnp.int32)}
    batch |= {
        "source": pictures,
        "target": pictures,
        "same": jax.ShapeDtypeStruct((rows,), jnp.float32),
    }
    if config["data"].get("answer_share", 0):
        batch |= {"answer": pictures, "answered": batch["same"]}
    if config["data"].get("pseudo_share", 0):
        batch["pseudo"] = batch["same"]
    if config["data"].get("occlusion_share", 0):
        batch["occluder"] = jax.ShapeDtypeStruct((rows, size, size), jnp.uint8)
    return batch


def frozen_shapes(task: Task, config: Config) -> tuple[Shapes, list[str]]:
    """Returns the frozen networks' shapes, and a line for each saying which network it is.

    Networks that the config names are read; a published architecture stands in for the others.

    Raises:
      UserError: weights that cannot be read or do not fit the config.
    """
    sources: dict[str, Weights] = {}
    lines = []
    # The identity network first: its embedding size is an input of the others.
    for role in ("identity", "aei"):
        if role not in config or "weights" not in config[role]:
            continue
        path = config[role].weights
        sources[role] = _read(path) if path else _STAND_INS[role](config, sources)
        what = f"from {Path(path)}" if path else f"assumed: {sources[role].path}"
        lines.append(f"frozen {role}: {what}")
    frozen = task.load_frozen(sources)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), frozen), lines


def _read(path: str) -> Weights:
    # Orbax, which it imports, takes seconds.
    from faceshifter_jax.checkpoints.weights import read_weights

    return read_weights(path)


def _assumed_identity(config: Config, sources: Mapping[str, Weights]) -> Weights:
    """The network that published FaceShifters use: ArcFace's of 100 layers, 65 M parameters."""
    del sources
    size = config.identity.get("embedding_size", _EMBEDDING_SIZE)
    network = Network(
        architecture="IResNet",
        settings={"depth": 100, "variant": "iresnet", "embedding_size": size},
        variables={},
        embedding_size=size,
        input=InputFormat(_CROP_SIZE),
    )
    picture = jnp.zeros((1, _CROP_SIZE, _CROP_SIZE, 3))
    return _as_weights("identity", network, "IResNet-100 of 112x112 pixels", picture)


def _assumed_aei_net(config: Config, sources: Mapping[str, Weights]) -> Weights:
    """The AEI-Net of arXiv 1912.13457, which is the module's default."""
    divisor = 2 ** len(AEINet.encoder_channels)
    if config.image_size % divisor:
        raise UserError(
            "config.aei.weights is empty, and the AEI-Net that would stand in makes pictures of a "
            f"multiple of {divisor} pixels, not {config.image_size}: name weights"
        )
    embedding_size = sources["identity"].networks["identity"].embedding_size
    network = Network(
        architecture="AEINet",
        settings={"aad": {}},
        variables={},
        embedding_size=embedding_size,
        image_size=config.image_size,
    )
    picture = jnp.zeros((1, config.image_size, config.image_size, 3))
    identity = jnp.zeros((1, embedding_size))
    return _as_weights("generator", network, "the AEI-Net of configs/aei.py", picture, identity)


_STAND_INS = {"identity": _assumed_identity, "aei": _assumed_aei_net}


def _as_weights(role: str, network: Network, name: str, *inputs: jax.Array) -> Weights:
    """The network with shapes in place of weights, as a reader of checkpoints returns one."""
    module = build_network(network)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    return Weights({role: dataclasses.replace(network, variables=shapes)}, name)
