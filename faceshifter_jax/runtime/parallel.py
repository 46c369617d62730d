"""One step body, compiled by `jax.jit` over a mesh or by `jax.pmap`.

Both take and return the same state: unstacked arrays, whole on every device or, under jit, divided
over the devices. A checkpoint written under one can be resumed under any other.
"""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from faceshifter_jax.errors import UserError

AXIS = "data"
_ROWS = PartitionSpec(AXIS)
# An array of fewer numbers is not worth a message of its own.
_WORTH_DIVIDING = 128
Predict = Callable[[Any, Any, Mapping[str, Any]], dict[str, jax.Array]]


class Parallel(abc.ABC):
    """Placement of arrays and compilation of functions; see `build_parallel`.

    Attributes:
      axis_name: what `task.make_step` gets: None under jit, the mapped axis under pmap.
      num_devices: devices of all processes.
      num_local_devices: those of this process.
      max_in_flight: steps that may be queued on the devices at once.
      replicated: the sharding of frozen networks and of predictions.
    """

    axis_name: str | None = None

    def __init__(self, devices: Sequence[Any]):
        # Process by process: a process's rows of the global batch lie on its own devices.
        devices = sorted(devices, key=lambda device: (device.process_index, device.id))
        self.num_devices = len(devices)
        self.num_local_devices = sum(d.process_index == jax.process_index() for d in devices)
        self.mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())
        # Collectives of two queued steps can deadlock where several fake devices share the threads
        # of a CPU.
        shares_threads = devices[0].platform == "cpu" and self.num_devices > 1
        self.max_in_flight = 1 if shares_threads else 2

    def check_batch_size(self, batch_size: int, accumulate_steps: int = 1) -> None:
        """Raises UserError if micro-batches cannot be divided among the devices."""
        divisor = self.num_devices * max(1, accumulate_steps)
        if batch_size < 1 or batch_size % divisor:
            each = f", {accumulate_steps} micro-batches each" if accumulate_steps > 1 else ""
            raise UserError(
                f"batch_size {batch_size} cannot be divided among {self.num_devices} devices"
                f"{each}: make it a multiple of {divisor}"
            )

    def replicate(self, tree: Any) -> Any:
        """Returns the arrays of `tree`, equal in every process, on all devices."""
        # Not device_put, which with many processes sends everything around to compare it.
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(self.replicated, np.asarray(leaf)),
            tree,
        )

    def place_state(self, state: Any) -> Any:
        """Returns the shapes of a state, each with the sharding that it has between two steps.

        Args:
          state: arrays or shapes.
        """
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=self.state_sharding(leaf.shape)
            ),
            state,
        )

    def state_sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """Returns the sharding of an array of this shape in the state: whole on every device."""
        del shape
        return self.replicated

    def state_on_host(self, state: Any) -> Any:
        """Returns a state's whole arrays as numpy arrays, possibly views, in the first process.

        To be called in all processes; the others get None.
        """
        if jax.process_index():
            return None
        # Separate views: the arrays would keep their copies on the host until they are donated.
        return jax.device_get(jax.tree.map(lambda array: array.addressable_data(0), state))

    def compile_to_state(
        self, function: Callable[..., Any], options: Any = None
    ) -> Callable[..., Any]:
        """Returns a compiled function whose result, a state, is placed as `place_state` says.

        Args:
          function: arrays -> a state.
          options: XLA's.
        """

        def run(*arguments: Any) -> Any:
            placed = self.place_state(jax.eval_shape(function, *arguments))
            shardings = jax.tree.map(lambda leaf: leaf.sharding, placed)
            lowered = jax.jit(function, out_shardings=shardings).lower(*arguments)
            return lowered.compile(compiler_options=options)(*arguments)

        return run

    def compile_init(self, init: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
        """Returns `init` compiled to build its result on all devices at once."""
        # It runs once, so XLA's optimisations would cost more than they save: half a minute
        # for the demo's networks on two cores.
        return self.compile_to_state(init, {"xla_backend_optimization_level": 0})

    def compile_predict(self, predict: Predict) -> Predict:
        """Returns `predict` compiled, every device computing the whole of a numpy batch.

        Nothing is sharded, so any batch size works and no process has to gather. The order
        of the columns is kept; a compiled function alone would sort them.
        """
        names: list[str] = []

        def columns(state, frozen, batch):
            images = predict(state, frozen, batch)
            names[:] = images
            return tuple(images.values())

        compiled = jax.jit(columns, out_shardings=self.replicated)

        def run(state, frozen, batch):
            images = compiled(state, frozen, self.replicate(batch))
            return dict(zip(names, images, strict=True))

        return run

    @abc.abstractmethod
    def compile_step(self, step: Callable) -> Any:
        """Returns `step(state, frozen, batch)`, of which `state` is donated, to be compiled.

        `lower(state, frozen, batch).compile()` of the result takes and returns global arrays.
        When called directly, it compiles on first use, but works in a single process only.
        """

    @abc.abstractmethod
    def put_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Lays out this process's rows of a global batch as the compiled step takes them."""


class JitParallel(Parallel):
    """`jax.jit`: the batch is sharded over the mesh, XLA inserts the reductions."""

    def compile_step(self, step: Callable) -> Any:
        return _JitStep(self, step)

    def gather(self, state: Any) -> Any:
        """Returns, while a step is traced, the state with its parameters whole on every device."""
        return state

    def put_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        sharded = NamedSharding(self.mesh, _ROWS)
        return {
            name: jax.make_array_from_process_local_data(sharded, rows)
            for name, rows in batch.items()
        }


class _JitStep:
    """A step whose shardings depend on the state's shapes; lowered or called like a jitted one."""

    def __init__(self, parallel: JitParallel, step: Callable):
        self._parallel, self._step = parallel, step
        self._jitted: Any = None

    def lower(self, state: Any, frozen: Any, batch: Any) -> jax.stages.Lowered:
        return self._jit_for(state).lower(state, frozen, batch)

    def __call__(self, state: Any, frozen: Any, batch: Any) -> Any:
        return self._jit_for(state)(state, frozen, batch)

    def _jit_for(self, state: Any) -> Any:
        if self._jitted is None:
            parallel = self._parallel
            placed = jax.tree.map(lambda leaf: parallel.state_sharding(leaf.shape), state)

            def step(state, frozen, batch):
                return self._step(parallel.gather(state), frozen, batch)

            self._jitted = jax.jit(
                step,
                in_shardings=(placed, parallel.replicated, NamedSharding(parallel.mesh, _ROWS)),
                out_shardings=(placed, parallel.replicated),
                donate_argnums=0,
                # Otherwise whatever a step overwrites without reading would not become an argument,
                # and the output could not reuse its memory.
                keep_unused=True,
            )
        return self._jitted


class DividedJitParallel(JitParallel):
    """`jax.jit` with a state that is divided over the devices between two steps.

    Every device keeps and updates its part of the master parameters, of the optimisers' moments and
    of the averages; the parameters are gathered where the networks need them, and XLA reduces
    each gradient to where its part is updated: ZeRO's third stage (arXiv 1910.02054, section 5).
    """

    def state_sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        """Divides the longest axis that can be; small arrays are whole on every device."""
        axes = [axis for axis, length in enumerate(shape) if length % self.num_devices == 0]
        if math.prod(shape) < _WORTH_DIVIDING or not axes:
            return self.replicated
        axis = max(axes, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * axis, AXIS))

    def gather(self, state: Any) -> Any:
        return state.replace(params=jax.lax.with_sharding_constraint(state.params, self.replicated))

    def state_on_host(self, state: Any) -> Any:
        gather = jax.jit(lambda array: array, out_shardings=self.replicated)
        wanted = jax.process_index() == 0

        def whole(leaf: jax.Array) -> np.ndarray | None:
            gathered = gather(leaf)
            return np.asarray(gathered.addressable_data(0)) if wanted else None

        # One at a time: the whole state need not fit on a device.
        arrays = jax.tree.map(whole, state)
        return arrays if wanted else None


class PmapParallel(Parallel):
    """`jax.pmap`: the step sees one device's rows and reduces over `axis_name` itself."""

    axis_name = AXIS

    def compile_step(self, step: Callable) -> Any:
        return jax.pmap(
            step,
            axis_name=AXIS,
            in_axes=(None, None, 0),
            out_axes=(None, None),
            donate_argnums=0,
            devices=list(self.mesh.devices),
        )

    def put_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        local = self.num_local_devices
        sharded = NamedSharding(self.mesh, _ROWS)
        return {
            name: jax.make_array_from_process_local_data(
                sharded, rows.reshape(local, rows.shape[0] // local, *rows.shape[1:])
            )
            for name, rows in batch.items()
        }


_MODES: dict[str, dict[str, type[Parallel]]] = {
    "jit": {"replicated": JitParallel, "zero": DividedJitParallel},
    "pmap": {"replicated": PmapParallel},
}


def build_parallel(
    mode: str, devices: Sequence[Any] | None = None, sharding: str = "replicated"
) -> Parallel:
    """Returns the way to compile a step for the given `config.parallel` and `config.sharding`.

    Args:
      mode: `jit` or `pmap`.
      devices: devices to use; all of them by default.
      sharding: of the state; `replicated`, or under jit `zero`: divided over the devices.

    Raises:
      UserError: an unknown mode or sharding, or two that do not go together.
    """
    if mode not in _MODES:
        raise UserError(f"unknown parallel mode {mode!r}: choose one of {', '.join(_MODES)}")
    shardings = list(_MODES["jit"])
    if sharding not in shardings:
        raise UserError(f"unknown sharding {sharding!r}: choose one of {', '.join(shardings)}")
    if sharding not in _MODES[mode]:
        raise UserError(
            f"config.sharding={sharding} needs config.parallel=jit: under {mode} every device "
            "holds the whole state"
        )
    return _MODES[mode][sharding](jax.devices() if devices is None else devices)


def describe_state(parallel: Parallel, state: Any) -> str:
    """Says how much of a divided state a device holds; "" where it holds all of it.

    Args:
      state: arrays or shapes.
    """
    held, whole = state_bytes(parallel, state)
    if held == whole:
        return ""
    return (
        f"state: divided over the devices, {_megabytes(held, 1)} on each in place of "
        f"{_megabytes(whole, 1)}"
    )


def state_bytes(parallel: Parallel, state: Any) -> tuple[int, int]:
    """Returns the bytes of a state on one device, and those of the whole state.

    Args:
      state: arrays or shapes.
    """
    leaves = jax.tree.leaves(parallel.place_state(state))
    whole = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    part = sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves
    )
    return part, whole


def describe_memory(compiled: Any) -> str:
    """Describes the memory that a compiled step needs on one device; "" where XLA does not say.

    Args:
      compiled: the result of `lower(...).compile()`.
    """
    memory = compiled.memory_analysis()
    if memory is None:
        return ""
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return (
        f": a device holds {_megabytes(held)} of state, frozen networks and batch, and "
        f"{_megabytes(memory.temp_size_in_bytes)} more during a step"
    )


def _megabytes(number: int, digits: int = 0) -> str:
    return f"{number / 2**20:,.{digits}f} MiB"
