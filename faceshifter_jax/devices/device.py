"""What `--device` names, a slice of TPUs or the GPUs of a host, and devices to compile for."""

import dataclasses
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faceshifter_jax.devices import topology
from faceshifter_jax.devices.chips import CHIPS
from faceshifter_jax.devices.gpus import GPUS, Gpu, known_gpus
from faceshifter_jax.devices.target_config import read_config, write_config
from faceshifter_jax.devices.topology import Topology, known_chips, parse_topology
from faceshifter_jax.errors import UserError
from faceshifter_jax.paths import local_path

_MOST_GPUS = 16
GPU_OPTIONS: Mapping[str, Any] = {
    "xla_gpu_enable_triton_gemm": False,
    "xla_gpu_autotune_level": 0,
}
"""XLA's options to compile for a GPU that is not there: it cannot try what is fastest on it."""

_PLUGINS = ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12")


@dataclasses.dataclass(frozen=True)
class GpuHost:
    """A host with `num_chips` GPUs of a kind.

    Attributes:
      chip: the kind.
      num_chips: how many there are.
      config: XLA's description of one.
    """

    chip: Gpu
    num_chips: int
    config: str = dataclasses.field(repr=False)
    platform = "gpu"

    def __str__(self) -> str:
        return self.chip.name if self.num_chips == 1 else f"{self.chip.name}:{self.num_chips}"


Target = Topology | GpuHost


def parse_device(text: str) -> Target:
    """Reads what `--device` names: `v5e:4x4`, `h100`, `h100:8`, `gpu.txtpb` or `gpu.txtpb:8`.

    Raises:
      UserError: there is no such device, or no such number of them.
    """
    text = local_path(text.strip())
    if Path(text).is_file():
        return GpuHost(*_read_file(text))
    name, colon, rest = text.rpartition(":") if ":" in text else (text, "", "")
    if name.lower() in CHIPS:
        return parse_topology(text.lower())
    is_file = Path(name).is_file()
    if name.lower() not in GPUS and not is_file:
        raise UserError(
            f"unknown device {text!r}: it is a slice of TPUs such as v5e:4x4 ({known_chips()}), a "
            f"GPU such as h100 or h100:8 ({known_gpus()}), or a file with XLA's description of one"
        )
    count = int(rest) if re.fullmatch(r"\d{1,4}", rest) else 0 if colon else 1
    if not 1 <= count <= _MOST_GPUS:
        raise UserError(
            f"{text!r}: a host has 1 to {_MOST_GPUS} GPUs, written as {name}:8; more hosts than "
            "one need the same memory for each GPU"
        )
    if is_file:
        gpu, _, config = _read_file(name)
    else:
        gpu = GPUS[name.lower()]
        config = write_config(gpu)
    return GpuHost(gpu, count, config)


def _read_file(path: str) -> tuple[Gpu, int, str]:
    gpu, config = read_config(Path(path))
    return gpu, 1, config


def check_compiler(target: Target) -> None:
    """Raises UserError, which says what to install, if the compiler for a device is missing."""
    if isinstance(target, Topology):
        topology.check_libtpu()
    elif not any(_is_installed(name) for name in _PLUGINS):
        raise UserError(
            "JAX's CUDA plugin, the compiler for GPUs, is not installed: pip install -e '.[cuda]' "
            "(Linux; 5 GB on the disk, no GPU is needed)"
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def prepare_environment(target: Target) -> None:
    """Lets this process load the device's compiler only; call it before jax is imported."""
    if isinstance(target, Topology):
        topology.prepare_environment()
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    # The plugin would ask the driver, which need not be here, for its version.
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    # XLA prints a page whenever it computes a constant for more than a second.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def build_devices(target: Target) -> Sequence[Any]:
    """Returns a device to compile for, for each chip.

    Raises:
      UserError: the compiler does not know the device, or does not work here.
    """
    if isinstance(target, Topology):
        return topology.build_devices(target)
    from jax.errors import JaxRuntimeError
    from jax.experimental import topologies

    try:
        described = topologies.get_topology_desc(
            platform="cuda", target_config=target.config, topology=f"1x1x{target.num_chips}"
        )
    except (JaxRuntimeError, NotImplementedError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"JAX's CUDA plugin cannot compile for {target}: {first}") from error
    return described.devices
