"""One step body, compiled by `jax.jit` over a mesh or by `jax.pmap`.

Both take and return the same state: unstacked arrays, replicated over all devices. A checkpoint
written under one can be resumed under the other.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from faceshifter_jax.errors import UserError

AXIS = "data"
Predict = Callable[[Any, Any, Mapping[str, Any]], dict[str, jax.Array]]


class Parallel(abc.ABC):
    """Placement of arrays and compilation of functions; see `build_parallel`.

    Attributes:
      axis_name: what `task.make_step` gets: None under jit, the mapped axis under pmap.
      num_devices: devices of all processes.
      num_local_devices: those of this process.
      max_in_flight: steps that may be queued on the devices at once.
      replicated: the sharding of the state, of frozen networks and of predictions.
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

    def compile_init(self, init: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
        """Returns `init` compiled to build its result on all devices at once."""
        compiled = jax.jit(init, out_shardings=self.replicated)
        # It runs once, so XLA's optimisations would cost more than they save: half a minute
        # for the demo's networks on two cores.
        options: Any = {"xla_backend_optimization_level": 0}
        return lambda key: compiled.lower(key).compile(compiler_options=options)(key)

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
        sharded = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.jit(
            step,
            in_shardings=(self.replicated, self.replicated, sharded),
            out_shardings=(self.replicated, self.replicated),
            donate_argnums=0,
            # Otherwise whatever a step overwrites without reading would not become an argument, and
            # the output could not reuse its memory.
            keep_unused=True,
        )

    def put_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        sharded = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return {
            name: jax.make_array_from_process_local_data(sharded, rows)
            for name, rows in batch.items()
        }


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
        sharded = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return {
            name: jax.make_array_from_process_local_data(
                sharded, rows.reshape(local, rows.shape[0] // local, *rows.shape[1:])
            )
            for name, rows in batch.items()
        }


_MODES = {"jit": JitParallel, "pmap": PmapParallel}


def build_parallel(mode: str, devices: Sequence[Any] | None = None) -> Parallel:
    """Returns the way to compile a step for the given `config.parallel`.

    Args:
      mode: `jit` or `pmap`.
      devices: devices to use; all of them by default.

    Raises:
      UserError: an unknown mode.
    """
    if mode not in _MODES:
        raise UserError(f"unknown parallel mode {mode!r}: choose one of {', '.join(_MODES)}")
    return _MODES[mode](jax.devices() if devices is None else devices)


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


def _megabytes(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB"
