"""The report of `faceshifter device-check` on a compiled step, as text and as JSON."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from faceshifter_jax.devices.chips import Chip
from faceshifter_jax.devices.compile import CompiledStep, StepCosts
from faceshifter_jax.devices.device import GpuHost, Target
from faceshifter_jax.devices.gpus import LARGEST_FRACTION, Gpu, memory_fraction
from faceshifter_jax.runtime.progress import format_duration

_NOT_COUNTED = (
    "not counted: the workspaces of NVIDIA's libraries, which are chosen on the card, the kernels "
    "and CUDA itself; leave 1 to 2 GiB for them"
)


def fits(step: CompiledStep, chip: Chip | Gpu) -> bool:
    """Whether the compiler made a program and the chip has the memory that it needs."""
    return step.costs is not None and step.needed_bytes <= usable_bytes(step, chip)


def describe(
    step: CompiledStep, topology: Target, batch_size: int, less: Sequence[str] = ()
) -> Iterator[str]:
    """Yields the report's lines; `batch_size` is global, `less` lists ways to save memory."""
    yield from step.assumed
    yield (
        f"traced in {format_duration(step.lower_seconds)}, "
        f"compiled in {format_duration(step.compile_seconds)} on this machine"
    )
    chip, batch = topology.chip, batch_size / topology.num_chips
    if step.costs is None:
        yield from _part_lines(step)
        yield _does_not_fit(step, chip, less)
        return
    yield f"for each {_unit(topology)}, with {batch:g} pictures a step:"
    yield from _chip_lines(step, step.costs, topology)
    yield _roofline(step, step.costs, topology, batch_size)
    if isinstance(chip, Gpu):
        yield _NOT_COUNTED
    if not fits(step, chip):
        yield _does_not_fit(step, chip, less)
        return
    yield f"the step fits: it needs {_of_memory(step.needed_bytes, chip.usable_bytes)}" + (
        f", the {100 * memory_fraction():g} % of a card that JAX takes"
        if isinstance(chip, Gpu)
        else ""
    )


def as_record(step: CompiledStep, topology: Target, batch_size: int) -> dict[str, Any]:
    """Returns the report as plain values; bytes, seconds and operations are of one chip."""
    chip = topology.chip
    record: dict[str, Any] = {
        "topology": str(topology),
        "num_chips": topology.num_chips,
        "batch_size": batch_size,
        "assumed": list(step.assumed),
        "lower_seconds": step.lower_seconds,
        "compile_seconds": step.compile_seconds,
        "fits": fits(step, chip),
        "needed_bytes": step.needed_bytes,
        "chip": dataclasses.asdict(chip),
    }
    if step.costs is not None:
        seconds = _seconds(step, step.costs, chip)
        record |= {
            "memory": dataclasses.asdict(step.costs.memory),
            "flops": step.costs.flops,
            "bytes_accessed": step.costs.bytes_accessed,
            "compute_seconds": seconds[0],
            "pictures_per_second": batch_size / max(seconds),
        }
        if isinstance(chip, Gpu):
            record["memory_seconds"] = seconds[1]
    return record


def _seconds(step: CompiledStep, costs: StepCosts, chip: Chip | Gpu) -> tuple[float, float]:
    """The times that a step's arithmetic and memory traffic take at the chip's peaks.

    That of a TPU's traffic is 0: XLA's count of its bytes is no measure.
    """
    traffic = costs.bytes_accessed / chip.bytes_per_second if isinstance(chip, Gpu) else 0.0
    return costs.flops / chip.peak(step.compute_dtype), traffic


def _roofline(step: CompiledStep, costs: StepCosts, topology: Target, batch_size: int) -> str:
    chip = topology.chip
    compute, memory = _seconds(step, costs, chip)
    rate = f"{chip.peak(step.compute_dtype) / 1e12:g} TFLOP/s"
    at_most = (
        f"at most {batch_size / max(compute, memory):.0f} pictures/s on {topology.num_chips} "
        f"{_unit(topology)}{'s' if topology.num_chips > 1 else ''} (published figures: "
        f"{chip.source})"
    )
    if not isinstance(chip, Gpu):
        return f"a step takes at least {1e3 * compute:.1f} ms of arithmetic at {rate}: {at_most}"
    return (
        f"a step takes {1e3 * compute:.1f} ms of arithmetic at {rate} and {1e3 * memory:.1f} ms of "
        f"memory traffic at {chip.bytes_per_second / 1e9:g} GB/s: {at_most}"
    )


def _unit(topology: Target) -> str:
    return "GPU" if isinstance(topology, GpuHost) else "chip"


def _chip_lines(step: CompiledStep, costs: StepCosts, topology: Target) -> Iterator[str]:
    memory, on_gpu = costs.memory, isinstance(topology, GpuHost)
    yield f"  arguments         {_gib(memory.arguments)}  state, frozen networks, batch"
    yield from _part_lines(step)
    yield f"  outputs           {_gib(memory.outputs)}  state, metrics"
    yield f"    aliased         {_gib(memory.aliased)}  of these lie where the arguments were"
    yield f"  temporaries       {_gib(memory.temporaries)}"
    if not on_gpu:
        yield f"  program           {_gib(memory.code)}"
    yield f"  peak              {_gib(memory.peak)}  of {_gib(topology.chip.memory_bytes).strip()}"
    yield f"  operations        {costs.flops / 1e12:8.3f} TFLOP"
    counted = "read and written by its kernels" if on_gpu else "as XLA counts them"
    yield f"  bytes accessed    {costs.bytes_accessed / 1e9:8.2f} GB   {counted}"


def _part_lines(step: CompiledStep) -> Iterator[str]:
    for name, num_bytes in step.parts.items():
        yield f"    {name:15s} {_gib(num_bytes)}"


def usable_bytes(step: CompiledStep, chip: Chip | Gpu) -> int:
    """The memory of a chip that a step can have."""
    return step.usable_bytes or chip.usable_bytes


def _does_not_fit(step: CompiledStep, chip: Chip | Gpu, less: Sequence[str]) -> str:
    needed, usable = step.needed_bytes, usable_bytes(step, chip)
    ways = ["fewer pictures a chip", "more chips", *less]
    if isinstance(chip, Gpu):
        ways = ["fewer pictures a GPU", *less]
        share = 0.01 + needed / chip.memory_bytes
        if memory_fraction() < share <= LARGEST_FRACTION:
            # JAX takes 75 % of a card unless it is told.
            ways.insert(0, f"XLA_CLIENT_MEM_FRACTION={share:.2f} in the environment")
    return (
        f"the step does not fit: it needs at least {_of_memory(needed, usable)}, "
        f"{_gib(needed - usable).strip()} more than a program can have of a {chip.name}: "
        f"take {', '.join(ways[:-1])}{' or ' if ways[:-1] else ''}{ways[-1]}"
    )


def _of_memory(needed: int, total: int) -> str:
    share = 100 * needed / total
    return f"{_gib(needed).strip()} of {_gib(total).strip()} ({share:.0f} %)"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:8.2f} GiB"
