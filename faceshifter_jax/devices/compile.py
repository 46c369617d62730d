"""A training step compiled for a slice of TPUs, and the compiler's figures for it."""

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax.devices.inputs import assume_num_classes, batch_shapes, frozen_shapes
from faceshifter_jax.devices.topology import Topology, build_devices
from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.parallel import build_parallel, state_bytes
from faceshifter_jax.tasks import build_task
from faceshifter_jax.training.config import Config, check_config
from faceshifter_jax.training.guard import REQUEST, guard_step

_SIZE = r"([\d.]+)([KMGT]?)"
# The first is printed while operations are being ordered, the second after memory is assigned.
_OUT_OF_MEMORY = (
    rf"\({_SIZE}\) exceeds available HBM \({_SIZE}\)",
    rf"Used {_SIZE} of {_SIZE} hbm",
)
QUICKLY = {"exec_time_optimization_effort": -1.0}
"""XLA's options for a compile in about a fifth of the time.

Operations are the same. Nothing is kept in fast memory, so that memory and traffic come out larger
than in a training run: upper bounds.
"""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a chip's memory, as XLA lays the program out.

    Attributes:
      arguments: state, frozen networks and the chip's share of the batch.
      outputs: the new state and the metrics.
      aliased: the part of the outputs that reuses the memory of arguments, because the state is
        donated.
      temporaries: everything else that is in memory during a step.
      code: the program.
      peak: the most that is in use at any time, without the program.
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int
    peak: int

    @property
    def needed(self) -> int:
        """What must be free: one block for the temporaries, plus the arguments and the program."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class StepCosts:
    """The cost of one step for each chip.

    Attributes:
      memory: how its memory is used.
      flops: floating point operations.
      bytes_accessed: XLA's count of the bytes that its operations read and write, padding
        included: also those that stay in the chip's fast memory, and some several times.
      program: the compiled program's text; `benchmarks/tpu.py` accounts for its bytes.
    """

    memory: Memory
    flops: float
    bytes_accessed: float
    program: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A step compiled for a slice of TPUs, or the attempt.

    Attributes:
      assumed: lines that say what stands in for settings and weights that are not given.
      lower_seconds, compile_seconds: tracing by JAX, and compiling by XLA on this machine.
      costs: None if the step does not fit.
      needed_bytes: the memory that it needs of a chip, a lower bound if it does not fit.
      usable_bytes: the memory available to a program; None where XLA does not say.
    """

    assumed: tuple[str, ...]
    lower_seconds: float
    compile_seconds: float
    costs: StepCosts | None
    needed_bytes: int
    usable_bytes: int | None


def compile_step(
    config: Config,
    topology: Topology,
    announce: Callable[[], None] = lambda: None,
    *,
    lowering: str = "tpu",
    options: Mapping[str, Any] | None = None,
) -> CompiledStep:
    """Compiles the step of a training run with `config` for every chip of a slice.

    It is what `training.loop` compiles with `config.parallel` at jit: the same function,
    shardings and donation. Shapes stand in for data and weights.

    Args:
      config: the training run's.
      topology: the slice.
      announce: called when everything is checked, right before the part that takes minutes.
      lowering: the platform for which the models choose how to write an operation.
      options: XLA's, such as `QUICKLY`.

    Raises:
      UserError: a config that cannot be trained with, a batch that cannot be divided among the
        chips, a slice that does not exist.
    """
    config = config.copy_and_resolve_references()
    check_config(config)
    devices = build_devices(topology)
    notes = []
    sharding = config.get("sharding", "replicated")
    if build_parallel(config.parallel, devices, sharding).axis_name is not None:
        notes = [
            f"config.parallel={config.parallel} is compiled as jit, which gives the same result"
        ]
    parallel = build_parallel("jit", devices, sharding)
    parallel.check_batch_size(config.batch_size, config.get("accumulate_steps", 1))
    with tracing_for(lowering):
        assumed = assume_num_classes(config)
        task = build_task(config)
        frozen, lines = frozen_shapes(task, config)
        state = jax.eval_shape(task.init, jax.random.key(config.seed))
        batch = batch_shapes(config, task.batch_kind)
        batch[REQUEST] = jax.ShapeDtypeStruct((topology.num_chips,), jnp.int32)
        axis_name = parallel.axis_name
        step = guard_step(task.make_step(axis_name), axis_name)
    notes.append(_describe_state(state, devices, sharding))
    compiled = compile_function(
        step,
        (state, frozen, batch),
        topology,
        announce,
        sharding=sharding,
        lowering=lowering,
        options=options,
        micro_batches=config.get("accumulate_steps", 1),
    )
    return dataclasses.replace(compiled, assumed=(*notes, *assumed, *lines))


def _describe_state(state: Any, devices: Any, sharding: str) -> str:
    """Says how much of the state every chip holds, and how much it would if it were divided."""
    part, whole = state_bytes(build_parallel("jit", devices, "zero"), state)
    part, whole = (f"{number / 2**30:.2f} GiB" for number in (part, whole))
    if sharding == "zero":
        return f"state: {part} on each chip, {whole} if config.sharding were replicated"
    return f"state: {whole} on each chip, {part} with config.sharding=zero"


def compile_function(
    function: Callable,
    shapes: tuple[Any, Any, Any],
    topology: Topology,
    announce: Callable[[], None] = lambda: None,
    *,
    lowering: str = "tpu",
    options: Mapping[str, Any] | None = None,
    micro_batches: int = 1,
    sharding: str = "replicated",
) -> CompiledStep:
    """Compiles a step, or a part of one, for every chip of a slice.

    Args:
      function: `(state, frozen, batch) -> (state, anything)`; the state is donated.
      shapes: of its arguments; the first axis of all arrays in the batch is divided among chips.
      topology, announce, lowering, options: see `compile_step`.
      micro_batches: see `read_costs`.
      sharding: of the state, see `build_parallel`.

    Raises:
      UserError: a slice that does not exist, or a function that XLA cannot compile.
    """
    parallel = build_parallel("jit", build_devices(topology), sharding)
    begin = time.monotonic()
    with tracing_for(lowering):
        lowered = parallel.compile_step(function).lower(*shapes)
    lowered_at = time.monotonic()
    announce()
    compiled, needed, usable = _compile(lowered, options)
    return CompiledStep(
        assumed=(),
        lower_seconds=lowered_at - begin,
        compile_seconds=time.monotonic() - lowered_at,
        costs=None if compiled is None else read_costs(compiled, micro_batches),
        needed_bytes=needed,
        usable_bytes=usable,
    )


def read_costs(compiled: jax.stages.Compiled, micro_batches: int = 1) -> StepCosts:
    """Returns XLA's figures for a program's cost on each device.

    Args:
      compiled: the program.
      micro_batches: turns of the loop that accumulates gradients, whose body XLA counts once.
        Nearly all of a step is in it, so its costs are multiplied by this number.
    """
    counted: Any = compiled.cost_analysis()
    return StepCosts(
        memory=_read_memory(compiled),
        flops=micro_batches * counted["flops"],
        bytes_accessed=micro_batches * counted["bytes accessed"],
        program=compiled.as_text() or "",
    )


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
    """Answers `jax.default_backend()` with the platform that programs are compiled for.

    Models use it to choose how to lower a convolution, and the TPUs are not a backend of this
    process: without this, the step would get the lowering for a CPU.
    """
    asked = jax.default_backend
    jax.default_backend = lambda: platform
    try:
        yield
    finally:
        jax.default_backend = asked


def _compile(
    lowered: jax.stages.Lowered, options: Mapping[str, Any] | None
) -> tuple[jax.stages.Compiled | None, int, int | None]:
    """Returns the program if it fits, the bytes that it needs, and those that a chip has for it."""
    try:
        compiled = lowered.compile(dict(options or {}))
    except jax.errors.JaxRuntimeError as error:
        needed, usable = parse_out_of_memory(str(error))
        return None, needed, usable
    return compiled, _read_memory(compiled).needed, None


def parse_out_of_memory(message: str) -> tuple[int, int]:
    """Returns the least bytes that a program needs, and the bytes available.

    Args:
      message: XLA's error message.

    Raises:
      UserError: it is not about memory.
    """
    for pattern in _OUT_OF_MEMORY:
        if match := re.search(pattern, message):
            used, used_unit, limit, limit_unit = match.groups()
            return int(float(used) * _UNITS[used_unit]), int(float(limit) * _UNITS[limit_unit])
    first = message.strip().splitlines()[0]
    raise UserError(f"XLA cannot compile the step for this TPU: {first}")


def _read_memory(compiled: jax.stages.Compiled) -> Memory:
    stats: Any = compiled.memory_analysis()
    return Memory(
        arguments=stats.argument_size_in_bytes,
        outputs=stats.output_size_in_bytes,
        aliased=stats.alias_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        code=stats.generated_code_size_in_bytes,
        peak=stats.peak_memory_in_bytes,
    )
