"""The TPU chips that a step can be compiled for, with their published figures."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of TPU chip.

    Attributes:
      name: as in a topology, such as `v5e`.
      num_dimensions: of the network between the chips, 2 or 3.
      peak_flops: floating point operations a second in bfloat16, as published. Float32 programs
        reach no more: at JAX's default precision their products are made in bfloat16 too.
      bytes_per_second: bandwidth of the memory (HBM), as published.
      memory_bytes: its size; a program gets a little less.
      source: where the figures were published.
      options: libtpu options that make one device of one chip.
    """

    name: str
    num_dimensions: int
    peak_flops: float
    bytes_per_second: float
    memory_bytes: int
    source: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def peak(self, compute_dtype: str) -> float:
        """Operations a second of a program that computes in `compute_dtype`."""
        del compute_dtype
        return self.peak_flops

    @property
    def usable_bytes(self) -> int:
        """What a program can have, at most."""
        return self.memory_bytes

    def notes(self, compute_dtype: str) -> list[str]:
        """Lines that say what is special when `compute_dtype` is computed on it."""
        del compute_dtype
        return []


_DOCS = "https://cloud.google.com/tpu/docs/"

CHIPS = {
    chip.name: chip
    for chip in (
        # libtpu's default is a device for each of a v4's two cores. A real slice has them joined.
        Chip("v4", 3, 275e12, 1200e9, 32 * 2**30, _DOCS + "v4", {"chip_config_name": "megacore"}),
        Chip("v5e", 2, 197e12, 819e9, 16 * 2**30, _DOCS + "v5e"),
        Chip("v5p", 3, 459e12, 2765e9, 95 * 2**30, _DOCS + "v5p"),
        Chip("v6e", 2, 918e12, 1638e9, 32 * 2**30, _DOCS + "v6e"),
    )
}
"""Name -> chip."""
