"""Network files: trained networks in one safetensors file that describes its content.

A file holds arrays named ROLE/params/... and ROLE/batch_stats/..., and in its header, under
`faceshifter_jax`, a JSON text with the format version, each network's architecture and settings,
where the weights came from, and a SHA-256 of all of it.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file
from faceshifter_jax.networks.contract import contract_from, view_from
from faceshifter_jax.networks.network import InputFormat, Network, check_finite

FORMAT_VERSION = 1
_KEY = "faceshifter_jax"
_SMALLEST_VARIANCE = 1e-5  # the epsilon of our normalisations, which is added


@dataclasses.dataclass(frozen=True)
class NetworkFile:
    """The content of a network file.

    Attributes:
      networks: role (`identity`, `generator`, `discriminator` or `hear`) -> network.
      source: where the weights came from: `family`, `file` and its `sha256`.
      sha256: hash of everything else.
    """

    networks: Mapping[str, Network]
    source: Mapping[str, Any]
    sha256: str


def write_network_file(
    path: str | Path,
    networks: Mapping[str, Network],
    source: Mapping[str, Any],
    *,
    half_precision: bool = False,
) -> str:
    """Writes networks and their descriptions; returns the file's content hash (SHA-256).

    Args:
      path: the file, replaced only when the new one is complete.
      networks: role -> network.
      source: where the weights came from, plain values. Its key `frozen`, name -> {"path",
        "sha256"}, lists the networks they were trained with.
      half_precision: whether parameters are kept as float16, in half the space; they are float32
        again when they are read.

    Raises:
      UserError: it cannot be written there, or weights are not finite, or not as float16.
    """
    path = Path(path)
    arrays = _flatten(networks)
    if half_precision:
        arrays = {name: _halved(name, array) for name, array in arrays.items()}
    _check_usable(arrays)
    header = {
        "format_version": FORMAT_VERSION,
        "networks": {role: describe_network(network) for role, network in networks.items()},
        "source": dict(source),
    }
    header["sha256"] = _hash(header, arrays)
    with publish_file(path, overwrite=True) as beside:
        try:
            save_file(arrays, beside, metadata={_KEY: json.dumps(header)})
            # It makes files that only their owner may read.
            beside.chmod(0o666 & ~_umask())
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot write {path}: {error}") from error
    return header["sha256"]


def is_network_file(path: str | Path) -> bool:
    """Whether `path` is one of our safetensors files, intact or not."""
    try:
        with safe_open(path, "numpy") as file:
            return _KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def read_network_file(path: str | Path) -> NetworkFile:
    """Reads a network file and checks that it is as it was written.

    Raises:
      UserError: the file does not exist, is not a network file, is damaged or edited, or of another
      format.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}: there is no such file")
    try:
        with safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()} if text else {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} is not a network file, or a damaged one ({error}): convert published weights "
            f"with `faceshifter convert {path} OUT.safetensors`"
        ) from error
    if text is None:
        raise UserError(
            f"{path} does not describe its network: convert it first, "
            f"`faceshifter convert {path} OUT.safetensors`"
        )
    return _parse(text, arrays, path)


def _parse(text: str, arrays: Mapping[str, np.ndarray], path: Path) -> NetworkFile:
    edited = UserError(f"{path} was changed after it was written: convert the original again")
    try:
        header = json.loads(text)
        version = header["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise edited from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has network file format {version!r}, this version reads format "
            f"{FORMAT_VERSION}: convert the original again"
        )
    sha256 = header.pop("sha256", None)
    if sha256 != _hash(header, arrays):
        raise edited
    whole = {name: _float32(array) for name, array in arrays.items()}
    trees = traverse_util.unflatten_dict(whole, sep="/")
    try:
        networks = {
            role: rebuild_network(fields, trees.get(role, {}))
            for role, fields in header["networks"].items()
        }
        _check_frozen(header["source"])
        return NetworkFile(networks, header["source"], sha256)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} describes a network in a way that this version does not know ({error}): "
            "convert the original again"
        ) from error


def _check_frozen(source: Mapping[str, Any]) -> None:
    for name, made_with in source.get("frozen", {}).items():
        if not all(isinstance(made_with[key], str) for key in ("path", "sha256")):
            raise ValueError(f"trained with {name}, which it does not describe")


def _flatten(networks: Mapping[str, Network]) -> dict[str, np.ndarray]:
    trees = {role: dict(network.variables) for role, network in networks.items()}
    flat = traverse_util.flatten_dict(trees, sep="/")
    return {name: np.ascontiguousarray(array) for name, array in flat.items()}


def describe_network(network: Network) -> dict[str, Any]:
    """What JSON can say of a network: all but its weights."""
    fields = {
        field.name: getattr(network, field.name)
        for field in dataclasses.fields(network)
        if field.name != "variables"
    }
    for name in ("input", "contract"):
        if fields[name] is not None:
            fields[name] = dataclasses.asdict(fields[name])
    return json.loads(json.dumps(fields))


def rebuild_network(fields: Mapping[str, Any], tree: Mapping[str, Any]) -> Network:
    """Returns the network of what `describe_network` said and of its weights.

    Raises:
      AttributeError, KeyError, TypeError, ValueError: these are no fields of a network.
    """
    variables = {"params": tree.get("params", {}), "batch_stats": tree.get("batch_stats", {})}
    given = dict(fields, variables=variables)
    # Files from before there were views and contracts lack them, and mean the usual ones.
    given["contract"] = contract_from(given.get("contract"))
    if given["input"] is not None:
        taken = dict(given["input"])
        if "view" in taken:
            taken["view"] = view_from(taken["view"])
        given["input"] = InputFormat(**taken)
    return Network(**given)


def _halved(name: str, array: np.ndarray) -> np.ndarray:
    """A parameter as float16; statistics, of which variances may be tiny, stay as they are."""
    if "/params/" not in name:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def _float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _check_usable(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises UserError for numbers that would only give NaN."""
    for name, array in arrays.items():
        check_finite(array, f"the weights are damaged: {name} holds numbers that are not finite")
        if name.rpartition("/")[2] == "var" and (array < -_SMALLEST_VARIANCE).any():
            raise UserError(f"the weights are damaged: {name} holds negative variances")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _hash(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data if array.ndim else array.tobytes())
    return digest.hexdigest()
