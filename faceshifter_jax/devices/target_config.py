"""Descriptions of GPUs for XLA: written for those that we know, read from files for others.

XLA takes a GPU that is not there as a protocol buffer in text form (`GpuTargetConfigProto`). Its
own are in `xla/backends/gpu/target_config/specs/` of https://github.com/openxla/xla.
"""

import re
from pathlib import Path
from typing import Any

from faceshifter_jax.devices.gpus import Gpu
from faceshifter_jax.errors import UserError

_TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\\n]|\\.)*"|[{}]|[^\s{}:,;"#]+')
_NAME = re.compile(r"[A-Za-z_]\w*")
# xla.PrimitiveType, the keys of `rate_infos`.
_FLOAT32, _BFLOAT16 = "11", "16"
_OPERATIONS = 2
"""A multiplication and an addition in one, as published rates count them."""
_WHERE = "take one of xla/backends/gpu/target_config/specs/ in github.com/openxla/xla"


def write_config(gpu: Gpu) -> str:
    """Returns XLA's description of a GPU in our table."""
    chip = gpu.architecture
    assert chip is not None
    major, minor = chip.capability
    device = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 48 * 2**10,
        "shared_memory_per_core": chip.shared_bytes,
        "shared_memory_per_block_optin": chip.shared_block_bytes,
        "threads_per_core_limit": chip.threads,
        "core_count": gpu.num_multiprocessors,
        "fpus_per_core": chip.float32_units,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 2**16 - 1,
        "block_dim_limit_z": 2**16 - 1,
        "thread_dim_limit_x": 1024,
        "thread_dim_limit_y": 1024,
        "thread_dim_limit_z": 64,
        "registers_per_core_limit": 2**16,
        "registers_per_block_limit": 2**16,
        "memory_bandwidth": int(gpu.bytes_per_second),
        "l2_cache_size": gpu.cache_bytes,
        "clock_rate_ghz": gpu.clock_ghz,
        "device_memory_size": gpu.memory_bytes,
    }
    lines = "".join(f"  {name}: {value}\n" for name, value in device.items())
    return (
        f"gpu_device_info {{\n{lines}"
        f"  cuda_compute_capability {{ major: {major} minor: {minor} }}\n}}\n"
        'platform_name: "CUDA"\n'
        "dnn_version_info { major: 9 minor: 10 patch: 0 }\n"
        f'device_description_str: "{gpu.name}"\n'
    )


def read_config(path: Path) -> tuple[Gpu, str]:
    """Reads a description of XLA's, and returns the GPU and the text.

    Rates are those of the file's `matrix_unit_description`; without it those of the vector units.

    Raises:
      UserError: the file cannot be read or is no description of a GPU by NVIDIA.
    """
    try:
        text = path.read_text()
        described = _parse(text)
        return _as_gpu(described, path), text
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe a GPU for XLA ({error}): {_WHERE}") from error


def _as_gpu(described: dict[str, Any], path: Path) -> Gpu:
    device = described["gpu_device_info"][0]
    if "cuda_compute_capability" not in device:
        raise ValueError("no cuda_compute_capability")
    units = _number(device, "core_count")
    vector = _OPERATIONS * units * _number(device, "fpus_per_core") * 1e9
    vector *= _number(device, "clock_rate_ghz")
    rates = {key: units * rate for key, rate in _matrix_rates(device).items()}
    float32 = rates.get(_FLOAT32, vector)
    gpu = Gpu(
        name=described.get("device_description_str", [path.stem])[0].strip('"'),
        peak_flops=rates.get(_BFLOAT16, float32),
        float32_flops=float32,
        bytes_per_second=_number(device, "memory_bandwidth"),
        memory_bytes=int(_number(device, "device_memory_size")),
        source=str(path),
    )
    if min(gpu.peak_flops, gpu.bytes_per_second, gpu.memory_bytes) <= 0:
        raise ValueError("a size or rate that is not above 0")
    return gpu


def _matrix_rates(device: dict[str, Any]) -> dict[str, float]:
    """Kind of number -> operations a second of one multiprocessor's matrix units."""
    rates = {}
    for unit in device.get("matrix_unit_description", []):
        for rate in unit.get("rate_infos", []):
            value = rate["value"][0]
            clock = 1e9 * _number(value, "clock_rate_ghz")
            per_clock = _number(value, "units_per_core") * _number(value, "ops_per_clock")
            rates[rate["key"][0]] = _OPERATIONS * clock * per_clock
    return rates


def _number(fields: dict[str, Any], name: str) -> float:
    if name not in fields:
        raise ValueError(f"no {name}")
    return float(fields[name][0])


def _parse(text: str) -> dict[str, Any]:
    """Returns name -> all of its values, of which messages are dicts likewise.

    Raises:
      ValueError: the text is no protocol buffer in text form.
    """
    whole: dict[str, Any] = {}
    inner = [whole]
    tokens = iter([token for token in _TOKEN.findall(text) if token[0] != "#"])
    for token in tokens:
        if token == "}":
            inner.pop()
            if not inner:
                raise ValueError("a bracket too many")
            continue
        value: Any = next(tokens, None)
        if value in (None, "}") or not _NAME.fullmatch(token):
            raise ValueError(f"{token!r} where a field with a value should be")
        value = {} if value == "{" else value
        inner[-1].setdefault(token, []).append(value)
        if isinstance(value, dict):
            inner.append(value)
    if len(inner) > 1:
        raise ValueError("a bracket is not closed")
    return whole
