"""Times the ways to compute a convolution or an upsampling on a CPU, layer by layer.

    python benchmarks/lowering.py --output benchmarks/results/lowering.json

A row is a convolution, a transposed convolution or an upsampling of the demo's or of the paper's
networks, forwards with all gradients, by each of the functions of `models/cpu_lowering.py` that
compute it, by XLA's own lowering (`plain_conv`, `conv_transpose`, `einsum`), and by the one
that `models/layers.py` takes. The last column says how much longer that takes than the fastest: a
way to check the choice on another machine.
"""

import on_cpu  # noqa: F401

# isort: split
import functools
import statistics
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from common import (
    Parser,
    at_least,
    check_output,
    machine,
    print_table,
    seconds_in_turns,
    write_json,
)

from faceshifter_jax.devices.compile import tracing_for
from faceshifter_jax.models import cpu_lowering, layers

# Map (B, H, W, C), side and features of the kernel, stride, padding.
LAYERS = {
    "demo": (
        ((32, 40, 40, 3), 3, 16, 1, 1),
        ((32, 40, 40, 16), 3, 16, 1, 1),
        ((32, 20, 20, 32), 3, 32, 2, 1),
        ((32, 10, 10, 32), 3, 64, 1, 1),
        ((8, 64, 64, 24), 3, 24, 1, 1),
        ((8, 64, 64, 24), 3, 3, 1, 1),
        ((8, 32, 32, 48), 3, 48, 1, 1),
        ((8, 32, 32, 24), 4, 48, 2, 1),
        ((8, 9, 9, 96), 4, 192, 1, 2),
        ((8, 64, 64, 54), 3, 12, 1, 1),
    ),
    "paper": (
        ((2, 256, 256, 64), 3, 64, 1, 1),
        ((2, 256, 256, 64), 3, 3, 1, 1),
        ((2, 128, 128, 128), 3, 128, 1, 1),
        ((2, 64, 64, 256), 3, 256, 1, 1),
        ((2, 32, 32, 512), 3, 512, 1, 1),
        ((2, 8, 8, 1024), 3, 1024, 1, 1),
        ((2, 33, 33, 256), 4, 512, 2, 2),
        ((2, 18, 18, 512), 4, 512, 1, 2),
        # At a quarter of the width, as `growth.py` has it.
        ((2, 256, 256, 16), 3, 16, 1, 1),
    ),
    "tiny": (((1, 4, 4, 2), 3, 2, 1, 1), ((1, 4, 4, 2), 4, 2, 2, 1)),
}
# Map (B, H, W, C) and features of a transposed convolution.
UP_LAYERS = {
    "demo": (((8, 2, 2, 128), 128), ((8, 8, 8, 192), 48), ((8, 16, 16, 96), 24)),
    "paper": (
        ((2, 2, 2, 1024), 1024),
        ((2, 8, 8, 1024), 256),
        ((2, 32, 32, 256), 64),
        ((2, 64, 64, 128), 32),
    ),
    "tiny": (((1, 4, 4, 2), 2),),
}
# Maps that are doubled.
UPSAMPLED = {
    "demo": ((8, 8, 8, 96), (8, 32, 32, 48)),
    "paper": ((2, 4, 4, 1024), (2, 32, 32, 256), (2, 128, 128, 64)),
    "tiny": ((1, 4, 4, 2),),
}
# For stride 1 alone.
_OVER_MAPS = ("conv_over_map", "conv_over_picture", "conv_to_few")


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--scale", nargs="+", choices=LAYERS, default=["demo", "paper"])
    parser.add_argument("--rounds", type=at_least(1), default=7, help="measurements of each (7)")
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()
    check_output(parser, arguments.output)
    record: dict[str, Any] = {"machine": machine()}
    print("ms, forwards and all gradients")
    scales, rounds = arguments.scale, arguments.rounds
    for name, measure, layers_of in (
        ("layers", measure_convolution, LAYERS),
        ("up_convolutions", measure_up_convolution, UP_LAYERS),
        ("upsampling", measure_upsampling, {s: [(m,) for m in UPSAMPLED[s]] for s in UPSAMPLED}),
    ):
        record[name] = [measure(*layer, rounds) for s in scales for layer in layers_of[s]]
        print()
        print_table(record[name])
    if arguments.output:
        write_json(arguments.output, record)
    return 0


def measure_convolution(
    shape: tuple[int, ...], size: int, features: int, stride: int, padding: int, rounds: int
) -> dict[str, Any]:
    """Median milliseconds of each lowering of one layer, None where it does not apply."""
    kernel_shape = (size, size, shape[-1], features)
    names = ("plain_conv", "conv_by_product", *_OVER_MAPS)
    ways = {"taken": functools.partial(layers.convolve, stride=stride, padding=padding)}
    for name in names:
        if name not in _OVER_MAPS:
            way = getattr(cpu_lowering, name)
            ways[name] = functools.partial(way, stride=stride, padding=padding)
        elif stride == 1:
            ways[name] = functools.partial(_over_map, getattr(cpu_lowering, name), padding)
    medians = _medians(ways, (shape, kernel_shape), rounds)
    return {
        "map": "x".join(map(str, shape)),
        "kernel": f"{size}x{size} to {features}, stride {stride}",
        **{name: medians.get(name) for name in names},
        **_compared(medians),
    }


def measure_up_convolution(shape: tuple[int, ...], features: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds of each way to convolve a map of that shape to twice its size."""
    by_phases = functools.partial(
        cpu_lowering.up_conv_by_phases, convolve=cpu_lowering.conv_over_picture
    )
    ways = {
        "conv_transpose": _as_elsewhere(layers.up_convolve),
        "up_conv_by_products": cpu_lowering.up_conv_by_products,
        "up_conv_by_phases": by_phases,
        "taken": layers.up_convolve,
    }
    medians = _medians(ways, (shape, (4, 4, shape[-1], features)), rounds)
    return {"map": "x".join(map(str, shape)), "features": features, **medians, **_compared(medians)}


def measure_upsampling(shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Median milliseconds of each way to double a map of that shape."""
    ways = {
        "einsum": _as_elsewhere(layers.upsample),
        "upsample_by_sums": cpu_lowering.upsample_by_sums,
        "taken": layers.upsample,
    }
    medians = _medians(ways, (shape,), rounds)
    return {"map": "x".join(map(str, shape)), **medians, **_compared(medians)}


def _as_elsewhere(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns the form of a function of `layers` for programs that are not compiled for a CPU."""

    def traced(*arrays: jax.Array) -> jax.Array:
        with tracing_for("none"):
            return function(*arrays)

    return traced


def _medians(
    ways: dict[str, Callable[..., jax.Array]], shapes: tuple[tuple[int, ...], ...], rounds: int
) -> dict[str, float]:
    random = np.random.default_rng(0)
    # Otherwise every call would copy them.
    arrays = [jax.device_put(random.standard_normal(shape, np.float32)) for shape in shapes]
    runs = {name: _program(way, *arrays) for name, way in ways.items()}
    seconds = seconds_in_turns(runs, rounds, warm_up=2)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def _compared(medians: dict[str, float]) -> dict[str, float]:
    taken = medians["taken"]
    return {"taken": taken, "of the fastest": taken / min(medians.values())}


def _over_map(convolve: Callable[..., jax.Array], padding: int, x, kernel) -> jax.Array:
    # A padding that is not differentiated must be given by its place.
    return convolve(x, kernel, padding)


def _program(way: Callable[..., jax.Array], *arrays: jax.Array) -> Callable[[], Any]:
    @jax.jit
    def run(*arrays):
        result, pull_back = jax.vjp(way, *arrays)
        return result, pull_back(result)

    return lambda: jax.block_until_ready(run(*arrays))


if __name__ == "__main__":
    sys.exit(main())
