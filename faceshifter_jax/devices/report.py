"""What `faceshifter tpu-check` says of a compiled step, for a reader and for a program."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from faceshifter_jax.devices.chips import Chip
from faceshifter_jax.devices.compile import CompiledStep, StepCosts
from faceshifter_jax.devices.hlo import Traffic
from faceshifter_jax.devices.roofline import Roofline, roofline
from faceshifter_jax.devices.topology import Topology
from faceshifter_jax.runtime.progress import format_duration

_NO_TRAFFIC = Traffic(0, 0)


def fits(step: CompiledStep, chip: Chip) -> bool:
    """Whether the compiler made a program and the chip has the memory that it needs."""
    return step.costs is not None and step.needed_bytes <= _usable_bytes(step, chip)


def describe(
    step: CompiledStep, topology: Topology, batch_size: int, less: Sequence[str] = ()
) -> Iterator[str]:
    """Yields the report's lines; `batch_size` is the global one, `less` ways to less memory."""
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
    yield from _roofline_lines(_bound(step.costs, topology.chip), topology, batch_size)
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
        bound = _bound(step.costs, chip)
        costs = dataclasses.replace(step.costs, uses=())
        record |= {key: value for key, value in dataclasses.asdict(costs).items() if key != "uses"}
        record |= {
            "compute_seconds": bound.compute_seconds,
            "memory_seconds": bound.memory_seconds,
            "bound": bound.bound,
            "pictures_per_second": batch_size / bound.seconds,
        }
    return record


def _bound(costs: StepCosts, chip: Chip) -> Roofline:
    return roofline(chip, costs.flops, costs.memory_traffic)


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
    yield f"  memory traffic    {costs.memory_traffic / 1e9:8.2f} GB   to and from the large memory"
    reduced = costs.collectives.get("all-reduce", _NO_TRAFFIC)
    yield f"  all-reduces       {reduced.count:8d}  of {reduced.num_bytes / 1e6:.1f} MB together"
    for kind, traffic in costs.collectives.items():
        if kind != "all-reduce":
            yield f"  {kind:17s} {traffic.count:8d}  of {traffic.num_bytes / 1e6:.1f} MB together"


def _roofline_lines(bound: Roofline, topology: Topology, batch_size: int) -> Iterator[str]:
    chip = topology.chip
    compute, memory = 1e3 * bound.compute_seconds, 1e3 * bound.memory_seconds
    yield f"  compute           {compute:8.1f} ms at {chip.peak_flops / 1e12:g} TFLOP/s"
    yield f"  memory            {memory:8.1f} ms at {chip.bytes_per_second / 1e9:g} GB/s"
    yield (
        f"a step takes at least {1e3 * bound.seconds:.1f} ms and is bound by {bound.bound}: at "
        f"most {batch_size / bound.seconds:.0f} pictures/s on {topology.num_chips} chips "
        f"(published figures: {chip.source})"
    )


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
