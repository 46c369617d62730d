"""The least time that a program can take on a chip (Williams et al., the roofline model)."""

import dataclasses

from faceshifter_jax.devices.chips import Chip


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Bounds on the time of one step on one chip, in seconds.

    Attributes:
      compute_seconds: its arithmetic at the chip's peak.
      memory_seconds: its memory traffic at the chip's bandwidth.
    """

    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The larger of the two: both can at best go on at the same time."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """What a step waits for at best, `compute` or `memory`."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def roofline(chip: Chip, flops: float, bytes_accessed: float) -> Roofline:
    """Returns the bounds for a program that makes so many operations and bytes a chip."""
    return Roofline(flops / chip.peak_flops, bytes_accessed / chip.bytes_per_second)
