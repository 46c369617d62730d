"""The largest batch whose step fits, found with few compilations."""

from collections.abc import Callable

from faceshifter_jax.devices.chips import Chip
from faceshifter_jax.devices.compile import CompiledStep
from faceshifter_jax.devices.gpus import Gpu
from faceshifter_jax.devices.report import fits, usable_bytes

MOST_PICTURES = 2**16
"""Larger batches are not tried."""

Compile = Callable[[int], CompiledStep]


def find_largest_batch(
    compile_batch: Compile, chip: Chip | Gpu, start: int, unit: int, limit: int = MOST_PICTURES
) -> tuple[int, CompiledStep]:
    """Returns the largest batch that fits, and its step; 0 and the step of `unit` if none does.

    It is right if a larger batch never needs less memory. Memory grows nearly in proportion, so
    the first guesses lie on the line through what two batches need; bisection takes over where
    they do not end it.

    Args:
      compile_batch: batch -> its compiled step.
      chip: the chip or GPU whose memory counts.
      start: the batch to try first.
      unit: batches are multiples of it.
      limit: the largest batch to try.
    """
    steps: dict[int, CompiledStep] = {}
    limit = max(limit, unit)
    fitting, failing = 0, (limit // unit + 1) * unit
    guess = min(max(unit, start // unit * unit), failing - unit)
    while failing - fitting > unit:
        steps[guess] = step = compile_batch(guess)
        if fits(step, chip):
            fitting = guess
        else:
            failing = guess
        guess = _next(steps, chip, fitting, failing, unit)
    return fitting, steps[max(fitting, unit)]


def _next(
    steps: dict[int, CompiledStep], chip: Chip | Gpu, fitting: int, failing: int, unit: int
) -> int:
    """The next multiple of `unit` to try, between a batch that fits and one that does not."""
    middle = (fitting + failing) // 2 // unit * unit
    known = [batch for batch, step in steps.items() if step.costs is not None][-2:]
    guess = middle
    if len(known) == 2 and len(steps) < 6:
        (low, high), usable = sorted(known), usable_bytes(steps[known[-1]], chip)
        growth = (steps[high].needed_bytes - steps[low].needed_bytes) / (high - low)
        if growth > 0:
            guess = int(low + (usable - steps[low].needed_bytes) / growth) // unit * unit
    elif fitting == max(steps):
        guess = 2 * fitting
    if guess == fitting:
        guess += unit
    return min(max(guess, fitting + unit), failing - unit)
