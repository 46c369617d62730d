"""The report of `faceshifter tpu-check` on a compiled step, as text and as JSON."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from faceshifter_jax.devices.chips import Chip
from faceshifter_jax.devices.compile import CompiledStep, StepCosts
from faceshifter_jax.devices.topology import Topology
from faceshifter_jax.runtime.progress import format_duration


def fits(step: CompiledStep, chip: Chip) -> bool:
    """Whether the compiler made a program and the chip has the memory that it needs."""
    return step.costs is not None and step.needed_bytes <= _usable_bytes(step, chip)


def describe(
    step: CompiledStep, topology: Topology, batch_size: int, less: Sequence[str] = ()
) -> Iterator[str]:
    """Yields the report's lines; `batch_size` is global, `less` lists ways to save memory."""
    yield from step.assumed
    yield (
        f"traced in {format_duration(step.lower_seconds)}, "
        f"compiled in {format_duration(step.compile_seconds)} on this machine"
    )
    if step.costs is None:
        yield _does_not_fit(step, topology.chip, less)
        return
    yield f"for each chip, with {batch_size / topology.num_chips:g} pictures a step:"
    yield from _chip_lines(step.costs, topology.chip)
    seconds = _least_seconds(step.costs, topology.chip)
    yield (
        f"a step takes at least {1e3 * seconds:.1f} ms of arithmetic at "
        f"{topology.chip.peak_flops / 1e12:g} TFLOP/s: at most {batch_size / seconds:.0f} "
        f"pictures/s on {topology.num_chips} chips (published figures: {topology.chip.source})"
    )
    if not fits(step, topology.chip):
        yield _does_not_fit(step, topology.chip, less)
        return
    yield f"the step fits: it needs {_of_memory(step.needed_bytes, topology.chip.memory_bytes)}"


def as_record(step: CompiledStep, topology: Topology, batch_size: int) -> dict[str, Any]:
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
        seconds = _least_seconds(step.costs, chip)
        record |= {
            "memory": dataclasses.asdict(step.costs.memory),
            "flops": step.costs.flops,
            "bytes_accessed": step.costs.bytes_accessed,
            "compute_seconds": seconds,
            "pictures_per_second": batch_size / seconds,
        }
    return record


def _least_seconds(costs: StepCosts, chip: Chip) -> float:
    """The time that a step's arithmetic takes at the chip's peak."""
    return costs.flops / chip.peak_flops


def _chip_lines(costs: StepCosts, chip: Chip) -> Iterator[str]:
    memory = costs.memory
    yield f"  arguments         {_gib(memory.arguments)}  state, frozen networks, batch"
    yield f"  outputs           {_gib(memory.outputs)}  state, metrics"
    yield f"    aliased         {_gib(memory.aliased)}  of these lie where the arguments were"
    yield f"  temporaries       {_gib(memory.temporaries)}"
    yield f"  program           {_gib(memory.code)}"
    yield f"  peak              {_gib(memory.peak)}  of {_gib(chip.memory_bytes).strip()}"
    yield f"  operations        {costs.flops / 1e12:8.3f} TFLOP"
    yield f"  bytes accessed    {costs.bytes_accessed / 1e9:8.2f} GB   as XLA counts them"


def _usable_bytes(step: CompiledStep, chip: Chip) -> int:
    return step.usable_bytes or chip.memory_bytes


def _does_not_fit(step: CompiledStep, chip: Chip, less: Sequence[str]) -> str:
    usable = _usable_bytes(step, chip)
    ways = ["fewer pictures a chip", "more chips", *less]
    return (
        f"the step does not fit: it needs at least {_of_memory(step.needed_bytes, usable)} that a "
        f"program can have of a {chip.name}: take {', '.join(ways[:-1])} or {ways[-1]}"
    )


def _of_memory(needed: int, total: int) -> str:
    share = 100 * needed / total
    return f"{_gib(needed).strip()} of {_gib(total).strip()} ({share:.0f} %)"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:8.2f} GiB"
