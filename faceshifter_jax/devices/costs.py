"""The compiler's figures for a program: memory, operations, bytes."""

import dataclasses
from typing import Any

import jax

from faceshifter_jax.devices.hlo import Program, memory_traffic


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
      flops: floating point operations; of GPUs, those of the program before XLA optimises it.
      bytes_accessed: of a TPU, XLA's count of the bytes that its operations read and write, padding
        included: also those that stay in the chip's fast memory, and some several times. Of a GPU,
        what its kernels read and write (`hlo.memory_traffic`).
      program: the compiled program's text; `benchmarks/tpu.py` accounts for its bytes.
    """

    memory: Memory
    flops: float
    bytes_accessed: float
    program: str = dataclasses.field(default="", repr=False)


def read_costs(compiled: jax.stages.Compiled, micro_batches: int = 1) -> StepCosts:
    """Returns XLA's figures for a program's cost on each device.

    Args:
      compiled: the program.
      micro_batches: turns of the loop that accumulates gradients, whose body XLA counts once.
        Nearly all of a step is in it, so its costs are multiplied by this number.
    """
    counted: Any = compiled.cost_analysis()
    return StepCosts(
        memory=read_memory(compiled),
        flops=micro_batches * counted["flops"],
        bytes_accessed=micro_batches * counted["bytes accessed"],
        program=compiled.as_text() or "",
    )


def gpu_costs(memory: Memory, flops: float, program: str) -> StepCosts:
    """Returns the costs of a program for a GPU, of which XLA counts the memory alone."""
    return StepCosts(memory, flops, float(memory_traffic(Program(program))), program)


def read_memory(compiled: jax.stages.Compiled) -> Memory:
    """Returns XLA's figures for a program's memory on each device."""
    stats: Any = compiled.memory_analysis()
    return Memory(
        arguments=stats.argument_size_in_bytes,
        outputs=stats.output_size_in_bytes,
        aliased=stats.alias_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        code=stats.generated_code_size_in_bytes,
        peak=stats.peak_memory_in_bytes,
    )
