"""A training step compiled for TPUs or GPUs, and the compiler's figures for it."""

import contextlib
import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax.devices.costs import (
    Memory as Memory,
)
from faceshifter_jax.devices.costs import (
    StepCosts,
    gpu_costs,
    read_costs,
    read_memory,
)
from faceshifter_jax.devices.device import GPU_OPTIONS, GpuHost, Target, build_devices
from faceshifter_jax.devices.inputs import (
    Shapes,
    assume_num_classes,
    batch_shapes,
    frozen_shapes,
)
from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.parallel import Parallel, build_parallel, state_bytes
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
class CompiledStep:
    """A step compiled for TPUs or GPUs, or the attempt.

    Attributes:
      assumed: lines that say what stands in for settings and weights that are not given.
      lower_seconds, compile_seconds: tracing by JAX, and compiling by XLA on this machine.
      costs: None if the step does not fit.
      needed_bytes: the memory that it needs of a chip, a lower bound if it does not fit.
      usable_bytes: the memory available to a program; None where XLA does not say.
      compute_dtype: what it computes in.
      parts: of the arguments, name -> bytes on a chip, without padding.
    """

    assumed: tuple[str, ...]
    lower_seconds: float
    compile_seconds: float
    costs: StepCosts | None
    needed_bytes: int
    usable_bytes: int | None
    compute_dtype: str = "bfloat16"
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LoweredStep:
    """A step that is traced, ready for XLA.

    Attributes:
      step: what is known of it before XLA, without costs.
      flops: of a GPU's program, on each; XLA counts those of a TPU's.
      lowered: for XLA.
      target: the device.
      micro_batches: see `read_costs`.
    """

    step: CompiledStep
    flops: float
    lowered: jax.stages.Lowered
    target: Target
    micro_batches: int

    def compile(self, options: Mapping[str, Any] | None = None) -> CompiledStep:
        """Returns the step as XLA compiles it with `options`.

        Raises:
          UserError: XLA cannot compile it, for another reason than memory.
        """
        begin = time.monotonic()
        on_gpu = isinstance(self.target, GpuHost)
        options = {**(GPU_OPTIONS if on_gpu else {}), **(options or {})}
        compiled, needed, usable = _compile(self.lowered, options, on_gpu)
        if compiled is None:
            costs = None
        elif on_gpu:
            costs = gpu_costs(read_memory(compiled), self.flops, compiled.as_text() or "")
        else:
            costs = read_costs(compiled, self.micro_batches)
        return dataclasses.replace(
            self.step,
            compile_seconds=time.monotonic() - begin,
            costs=costs,
            needed_bytes=needed,
            usable_bytes=usable,
        )


def compile_step(
    config: Config,
    topology: Target,
    announce: Callable[[], None] = lambda: None,
    *,
    lowering: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> CompiledStep:
    """Compiles the step of a training run with `config` for every chip of a device.

    Args:
      config, topology, lowering: see `lower_step`.
      announce: called when everything is checked, right before the part that takes minutes.
      options: XLA's, such as `QUICKLY`.

    Raises:
      UserError: see `lower_step`; also XLA cannot compile it.
    """
    lowered = lower_step(config, topology, lowering=lowering)
    announce()
    return lowered.compile(options)


def lower_step(config: Config, target: Target, *, lowering: str | None = None) -> LoweredStep:
    """Traces the step of a training run with `config` for every chip of a device.

    It is what `training.loop` compiles with `config.parallel` at jit: the same function,
    shardings and donation. Shapes stand in for data and weights.

    Args:
      config: the training run's.
      target: the device, a slice of TPUs or a host's GPUs.
      lowering: the platform for which the models choose how to write an operation; the device's
        by default.

    Raises:
      UserError: a config that cannot be trained with, a batch that cannot be divided among the
        chips, a device that does not exist.
    """
    config = config.copy_and_resolve_references()
    check_config(config)
    devices = build_devices(target)
    notes = []
    sharding = config.get("sharding", "replicated")
    if build_parallel(config.parallel, devices, sharding).axis_name is not None:
        notes = [
            f"config.parallel={config.parallel} is compiled as jit, which gives the same result"
        ]
    parallel = build_parallel("jit", devices, sharding)
    parallel.check_batch_size(config.batch_size, config.get("accumulate_steps", 1))
    with tracing_for(lowering or target.platform):
        assumed = assume_num_classes(config)
        task = build_task(config)
        frozen, lines = frozen_shapes(task, config)
        state = jax.eval_shape(task.init, jax.random.key(config.seed))
        batch = batch_shapes(config, task.batch_kind)
        batch[REQUEST] = jax.ShapeDtypeStruct((target.num_chips,), jnp.int32)
        axis_name = parallel.axis_name
        step = guard_step(task.make_step(axis_name), axis_name)
    notes.append(_describe_state(state, devices, sharding))
    notes += target.chip.notes(config.compute_dtype)
    traced = lower_function(
        step,
        (state, frozen, batch),
        target,
        sharding=sharding,
        lowering=lowering,
        micro_batches=config.get("accumulate_steps", 1),
    )
    known = dataclasses.replace(
        traced.step,
        assumed=(*notes, *assumed, *lines),
        compute_dtype=config.compute_dtype,
        parts=_argument_parts(parallel, state, frozen, batch),
    )
    return dataclasses.replace(traced, step=known)


def _argument_parts(
    parallel: Parallel, state: Any, frozen: Shapes, batch: Shapes
) -> dict[str, int]:
    """Bytes of each part of a step's arguments on one device."""
    fields = {
        "parameters": (state.params, state.batch_stats),
        "averages": state.ema_params,
        "optimisers": state.opt_state,
    }
    parts = {name: state_bytes(parallel, tree)[0] for name, tree in fields.items()}
    parts["frozen networks"] = num_bytes(frozen)
    return parts | {"batch": num_bytes(batch) // parallel.num_devices}


def num_bytes(shapes: Shapes) -> int:
    """Bytes of all arrays of a tree."""
    leaves = jax.tree.leaves(shapes)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


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
    topology: Target,
    announce: Callable[[], None] = lambda: None,
    *,
    lowering: str | None = None,
    options: Mapping[str, Any] | None = None,
    micro_batches: int = 1,
    sharding: str = "replicated",
) -> CompiledStep:
    """Compiles a step, or a part of one, for every chip of a device.

    Args:
      function, shapes, lowering, micro_batches, sharding: see `lower_function`.
      topology, announce, options: see `compile_step`.

    Raises:
      UserError: a device that does not exist, or a function that XLA cannot compile.
    """
    lowered = lower_function(
        function,
        shapes,
        topology,
        lowering=lowering,
        micro_batches=micro_batches,
        sharding=sharding,
    )
    announce()
    return lowered.compile(options)


def lower_function(
    function: Callable,
    shapes: tuple[Any, Any, Any],
    target: Target,
    *,
    lowering: str | None = None,
    micro_batches: int = 1,
    sharding: str = "replicated",
) -> LoweredStep:
    """Traces a step, or a part of one, for every chip of a device.

    Args:
      function: `(state, frozen, batch) -> (state, anything)`; the state is donated.
      shapes: of its arguments; the first axis of all arrays in the batch is divided among chips.
      target, lowering: see `lower_step`.
      micro_batches: see `read_costs`.
      sharding: of the state, see `build_parallel`.

    Raises:
      UserError: a device that does not exist.
    """
    parallel = build_parallel("jit", build_devices(target), sharding)
    begin = time.monotonic()
    flops = 0.0
    with tracing_for(lowering or target.platform):
        lowered = parallel.compile_step(function).lower(*shapes)
        if isinstance(target, GpuHost):
            flops = micro_batches * _count_operations(function, shapes) / target.num_chips
    step = CompiledStep((), time.monotonic() - begin, 0.0, None, 0, None)
    return LoweredStep(step, flops, lowered, target, micro_batches)


def _count_operations(function: Callable, shapes: tuple[Any, Any, Any]) -> float:
    """Operations of all chips together, by XLA's count for a CPU before it optimises.

    The body of a loop counts once. To be called while tracing for the device.
    """
    # A new function, because JAX caches traces by the function.
    counted: Any = jax.jit(lambda *given: function(*given)).lower(*shapes).cost_analysis()
    return counted["flops"]


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
    lowered: jax.stages.Lowered, options: Mapping[str, Any], on_gpu: bool
) -> tuple[jax.stages.Compiled | None, int, int | None]:
    """Returns the program if it fits, the bytes that it needs, and those that a chip has for it."""
    try:
        compiled = lowered.compile(dict(options))
    except jax.errors.JaxRuntimeError as error:
        if on_gpu:
            first = str(error).strip().splitlines()[0]
            raise UserError(f"XLA cannot compile the step for this GPU: {first}") from error
        needed, usable = parse_out_of_memory(str(error))
        return None, needed, usable
    return compiled, read_memory(compiled).needed, None


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
