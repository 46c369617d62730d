"""TPU slices by name, and their devices to compile for."""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any

from faceshifter_jax.devices.chips import CHIPS, Chip
from faceshifter_jax.errors import UserError

_LARGEST_HOST = (2, 2, 1)
_EXAMPLE = "write it as v5e:4x4 or v4:2x2x1"


@dataclasses.dataclass(frozen=True)
class Topology:
    """A slice: `shape` chips of a kind along each dimension of the network between them."""

    chip: Chip
    shape: tuple[int, ...]
    platform = "tpu"

    @property
    def num_chips(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"


def parse_topology(text: str) -> Topology:
    """Reads a slice's name, such as `v5e:4x4`.

    Raises:
      UserError: it is not in this form, names an unknown chip, or has the wrong dimensions.
    """
    match = re.fullmatch(r"([a-z0-9]+):(\d+(?:x\d+)+)", text.strip())
    if match is None:
        raise UserError(f"{text!r} is not a TPU topology: {_EXAMPLE}")
    name, shape = match[1], tuple(map(int, match[2].split("x")))
    if name not in CHIPS:
        raise UserError(f"unknown TPU {name!r} in the topology {text!r}: known are {known_chips()}")
    chip = CHIPS[name]
    if len(shape) != chip.num_dimensions or min(shape) < 1:
        example = "x".join("2" * chip.num_dimensions)
        raise UserError(
            f"the topology {text!r} does not exist: a {name} slice has {chip.num_dimensions} "
            f"dimensions of at least one chip, such as {name}:{example}"
        )
    return Topology(chip, shape)


def known_chips() -> str:
    """The names of the chips, for a message."""
    return ", ".join(CHIPS)


def check_libtpu() -> None:
    """Raises UserError, which says how to install libtpu, if it is missing."""
    if importlib.util.find_spec("libtpu") is None and not os.environ.get("TPU_LIBRARY_PATH"):
        raise UserError(
            "libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu-check]' "
            "(Linux on x86; about 700 MB on the disk)"
        )


def prepare_environment() -> None:
    """Lets this process load libtpu only as a compiler; call it before jax is imported.

    libtpu then looks for no TPU, asks no metadata server about this machine, leaves a training run
    that uses the TPUs alone, and writes no logs to /tmp.
    """
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_LOG_DIR": "disabled",
        # Values that libtpu would otherwise warn that it cannot find.
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
    }


def build_devices(topology: Topology) -> Sequence[Any]:
    """Returns a device to compile for, for each chip of a slice.

    Raises:
      UserError: libtpu does not know the slice, or does not work here.
    """
    from jax.errors import JaxRuntimeError
    from jax.experimental import topologies

    # For a slice smaller than a host, a smaller host is requested.
    padded = (*topology.shape, 1, 1)[:3]
    host = [min(pair) for pair in zip(padded, _LARGEST_HOST, strict=True)]
    try:
        described = topologies.get_topology_desc(
            topology_name=str(topology),
            platform="tpu",
            chips_per_host_bounds=host,
            **topology.chip.options,
        )
    except (JaxRuntimeError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"libtpu does not know the topology {topology}: {first}") from error
    devices = described.devices
    if len(devices) != topology.num_chips:
        raise UserError(
            f"this libtpu makes {len(devices)} devices of the {topology.num_chips} chips of "
            f"{topology}: install the one that `pip install -e '.[tpu-check]'` names"
        )
    return devices
