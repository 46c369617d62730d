"""The GPUs that a step can be compiled for, with their published figures."""

import dataclasses
import os

from faceshifter_jax.errors import UserError

_FRACTIONS = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
# https://docs.jax.dev/en/latest/gpu_memory_allocation.html
_DEFAULT_FRACTION = 0.75
LARGEST_FRACTION = 0.95
"""The largest share of a card's memory that JAX's pool can be asked for.

CUDA's own context and the kernels, which lie outside of the pool, take some hundred MiB.
"""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A generation of GPUs, as XLA has to know it.

    The figures are those of the CUDA programming guide, "Compute Capabilities":
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/

    Attributes:
      capability: compute capability, major and minor.
      float32_units: of a multiprocessor.
      threads: resident threads of a multiprocessor, at most.
      shared_bytes, shared_block_bytes: shared memory of a multiprocessor, and of a block at most.
    """

    capability: tuple[int, int]
    float32_units: int
    threads: int
    shared_bytes: int
    shared_block_bytes: int

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies in bfloat16; otherwise XLA does so in float32."""
        return self.capability >= (8, 0)


_TURING = Architecture((7, 5), 64, 1024, 64 * 2**10, 64 * 2**10)
_AMPERE = Architecture((8, 0), 64, 2048, 164 * 2**10, 163 * 2**10)
_AMPERE_CARDS = Architecture((8, 6), 128, 1536, 100 * 2**10, 99 * 2**10)
_ADA = Architecture((8, 9), 128, 1536, 100 * 2**10, 99 * 2**10)
_HOPPER = Architecture((9, 0), 128, 2048, 228 * 2**10, 227 * 2**10)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
      name: as on the command line.
      peak_flops: floating point operations a second in bfloat16, without sparsity, as published.
      float32_flops: those of float32 programs. At JAX's default precision XLA multiplies them in
        TF32 where the tensor cores know it.
      bytes_per_second: bandwidth of the memory, as published.
      memory_bytes: what CUDA says that a process can have, less than what is printed on the box.
      source: where the figures were published.
      architecture: None where a file of XLA's describes the card.
      num_multiprocessors, clock_ghz, cache_bytes: with the second cache (L2).
    """

    name: str
    peak_flops: float
    float32_flops: float
    bytes_per_second: float
    memory_bytes: int
    source: str
    architecture: Architecture | None = None
    num_multiprocessors: int = 0
    clock_ghz: float = 0.0
    cache_bytes: int = 0

    def peak(self, compute_dtype: str) -> float:
        """Operations a second of a program that computes in `compute_dtype`."""
        return self.float32_flops if compute_dtype == "float32" else self.peak_flops

    def with_chip(
        self, architecture: Architecture, num_multiprocessors: int, clock_ghz: float, cache: int
    ) -> "Gpu":
        """Returns the card with what XLA has to know of its chip; `cache` (L2) in MiB."""
        return dataclasses.replace(
            self,
            architecture=architecture,
            num_multiprocessors=num_multiprocessors,
            clock_ghz=clock_ghz,
            cache_bytes=cache * 2**20,
        )

    @property
    def usable_bytes(self) -> int:
        """What a program can have: the pool that JAX takes of a card's memory."""
        return int(self.memory_bytes * memory_fraction())

    def notes(self, compute_dtype: str) -> list[str]:
        """Lines that say what is special when `compute_dtype` is computed on it."""
        architecture = self.architecture
        if architecture and compute_dtype == "bfloat16" and not architecture.has_bfloat16:
            return [f"a {self.name} does not multiply in bfloat16: XLA converts to float32"]
        return []


def memory_fraction() -> float:
    """The share of a GPU's memory that JAX takes, from the variable that training runs read, too.

    Raises:
      UserError: the variable is no share.
    """
    for name in _FRACTIONS:
        if text := os.environ.get(name, ""):
            try:
                fraction = float(text)
            except ValueError:
                fraction = 0.0
            if not 0 < fraction <= 1:
                raise UserError(f"{name}={text} is no share of the memory: make it 0.75, or unset")
            return fraction
    return _DEFAULT_FRACTION


def _gib(number: float) -> int:
    return int(number * 2**30)


_NVIDIA = "https://www.nvidia.com/"
_PAGES = _NVIDIA + "en-us/"
_ADA_PAPER = (
    "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
)
_T4_SHEET = (
    _NVIDIA + "content/dam/en-zz/Solutions/Data-Center/tesla-t4/t4-tensor-core-datasheet-951643.pdf"
)

# Rates of the tensor cores are those that add in float32. Memory is what XLA's own descriptions of
# the large cards have, of an L4 nvidia-smi's 23,034 MiB less 2 % for the driver, of the others the
# "total capacity" in messages of PyTorch on them.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            "h200", 989e12, 494.7e12, 4800e9, 151_397_597_184, _PAGES + "data-center/h200/"
        ).with_chip(_HOPPER, 132, 1.98, 50),
        Gpu(
            "h100", 989e12, 494.7e12, 3350e9, 84_942_979_072, _PAGES + "data-center/h100/"
        ).with_chip(_HOPPER, 132, 1.98, 50),
        Gpu(
            "a100-80gb", 312e12, 156e12, 2039e9, 85_100_068_864, _PAGES + "data-center/a100/"
        ).with_chip(_AMPERE, 108, 1.41, 40),
        Gpu("l4", 121e12, 60e12, 300e9, _gib(22.05), _PAGES + "data-center/l4/").with_chip(
            _ADA, 58, 2.04, 48
        ),
        Gpu("rtx4090", 165.2e12, 82.6e12, 1008e9, _gib(23.64), _ADA_PAPER).with_chip(
            _ADA, 128, 2.52, 72
        ),
        # Its page has cores and clock: 28 multiprocessors at 1.777 GHz, each with 512 operations
        # a clock in bfloat16 and 256 in TF32, as in the white paper of its larger sisters.
        Gpu(
            *("rtx3060", 25.5e12, 12.7e12, 360e9, _gib(11.75)),
            _PAGES + "geforce/graphics-cards/30-series/rtx-3060-3060ti/",
        ).with_chip(_AMPERE_CARDS, 28, 1.777, 3),
        Gpu("t4", 8.1e12, 8.1e12, 320e9, _gib(14.56), _T4_SHEET).with_chip(_TURING, 40, 1.59, 4),
    )
}
"""Name -> GPU."""


def known_gpus() -> str:
    """The names of the GPUs, for a message."""
    return ", ".join(GPUS)
