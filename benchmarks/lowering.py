"""Times the ways to compute a convolution on a CPU, layer by layer.

    python benchmarks/lowering.py --output benchmarks/results/lowering.json

A row is a convolution of the demo's or of the paper's networks, forwards with both gradients, by
each of the lowerings of `models/cpu_lowering.py` and by the one that `models/layers.py` takes. The
last column says how much longer that takes than the fastest: a way to check the choice on
another machine.
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
# For stride 1 alone.
_OVER_MAPS = ("conv_over_map", "conv_over_picture", "conv_to_few")


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--scale", nargs="+", choices=LAYERS, default=["demo", "paper"])
    parser.add_argument("--rounds", type=at_least(1), default=7, help="measurements of each (7)")
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args()
    check_output(parser, arguments.output)
    rows = [
        measure(*layer, arguments.rounds) for scale in arguments.scale for layer in LAYERS[scale]
    ]
    print("ms, forwards and both gradients\n")
    print_table(rows)
    if arguments.output:
        write_json(arguments.output, {"machine": machine(), "layers": rows})
    return 0


def measure(
    shape: tuple[int, ...], size: int, features: int, stride: int, padding: int, rounds: int
) -> dict[str, Any]:
    """Median milliseconds of each lowering of one layer, None where it does not apply."""
    random = np.random.default_rng(0)
    kernel_shape = (size, size, shape[-1], features)
    x, kernel = (random.standard_normal(s, np.float32) for s in (shape, kernel_shape))
    names = ("plain_conv", "conv_by_product", *_OVER_MAPS)
    ways = {"taken": functools.partial(layers.convolve, stride=stride, padding=padding)}
    for name in names:
        if name not in _OVER_MAPS:
            way = getattr(cpu_lowering, name)
            ways[name] = functools.partial(way, stride=stride, padding=padding)
        elif stride == 1:
            ways[name] = functools.partial(_over_map, getattr(cpu_lowering, name), padding)
    runs = {name: _program(way, x, kernel) for name, way in ways.items()}
    seconds = seconds_in_turns(runs, rounds, warm_up=2)
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    return {
        "map": "x".join(map(str, shape)),
        "kernel": f"{size}x{size} to {features}, stride {stride}",
        **{name: medians.get(name) for name in names},
        "taken": medians["taken"],
        "of the fastest": medians["taken"] / min(medians.values()),
    }


def _over_map(convolve: Callable[..., jax.Array], padding: int, x, kernel) -> jax.Array:
    # A padding that is not differentiated must be given by its place.
    return convolve(x, kernel, padding)


def _program(way: Callable[..., jax.Array], x: np.ndarray, kernel: np.ndarray) -> Callable[[], Any]:
    @jax.jit
    def run(x, kernel):
        result, pull_back = jax.vjp(way, x, kernel)
        return result, pull_back(result)

    return lambda: jax.block_until_ready(run(x, kernel))


if __name__ == "__main__":
    sys.exit(main())
