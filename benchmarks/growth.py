"""Growth of the time and the memory of the AEI training step.

    python benchmarks/growth.py --output growth.json --plot docs/images/growth.svg
    python benchmarks/growth.py --axes size --width 1 --batch 1 --no-times  # memory at paper width

One setting is doubled at a time: the side of the pictures, the batch, or the width of all layers
(1 is the paper's). With the side the encoder's and the generator's levels grow too, one for each
doubling up to the paper's seven at 256 pixels: the column `levels`. Times are medians of steps on
this machine, in float32. Memory is what XLA plans for this machine: the state, the frozen network
and the batch, and next to them temporaries, above all the feature maps that the backward pass
needs, without and with `config.remat=aad`. It takes no run, only a compilation. The identity
network is small, because its cost does not depend on the pictures.
"""

import on_cpu  # noqa: F401

# isort: split
import argparse
import dataclasses
import gc
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import (
    Parser,
    above_zero,
    at_least,
    check_output,
    machine,
    matrix_rate,
    print_table,
    write_json,
)
from log_chart import Panel, draw_panels
from step_ours import OurStep
from step_scale import SCALES, Scale

from faceshifter_jax.files import write_text

AXES = ("size", "batch", "width")
# Faster to compile, the same plan of the memory.
_UNOPTIMISED = {"xla_backend_optimization_level": 0}
_LEAST_WIDTH = 4
_IDENTITY = {"identity_depth": 10, "identity_width": 16}


@dataclasses.dataclass(frozen=True)
class Point:
    """A step: side of the pictures, batch, and width in shares of the paper's."""

    size: int
    batch: int
    width: float


def main() -> int:
    arguments = _parse(sys.argv[1:])
    base = Point(arguments.size, arguments.batch, arguments.width)
    rows, result = {}, {"machine": machine(), "base": dataclasses.asdict(base)}
    for point in points(base, arguments):
        if point not in rows:
            rows[point] = dataclasses.asdict(point) | measure(point, arguments)
            print_table([rows[point]])
            result["steps"] = list(rows.values())
            if arguments.output:
                write_json(arguments.output, result)
    print()
    print_table(list(rows.values()))
    if arguments.plot:
        write_text(arguments.plot, draw_panels(panels(base, rows, arguments.axes), columns=3))
        print(f"wrote {arguments.plot}")
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--sizes", type=at_least(1), nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--batches", type=at_least(1), nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--widths", type=above_zero, nargs="+", default=[0.125, 0.25, 0.5, 1.0])
    parser.add_argument("--size", type=at_least(1), default=128, help="where not varied (128)")
    parser.add_argument("--batch", type=at_least(1), default=2, help="where not varied (2)")
    parser.add_argument("--width", type=above_zero, default=0.25, help="where not varied (0.25)")
    parser.add_argument("--steps", type=at_least(1), default=5, help="measured of each (5)")
    parser.add_argument("--no-times", action="store_true", help="memory alone")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    arguments = parser.parse_args(words)
    for size in (arguments.size, *arguments.sizes):
        divisor = 2 ** _num_levels(size)
        if size % divisor:
            parser.error(f"pictures of side {size}: it must be a multiple of {divisor}")
    check_output(parser, arguments.output)
    check_output(parser, arguments.plot)
    return arguments


def points(base: Point, arguments: argparse.Namespace) -> Iterator[Point]:
    """The base with one setting changed at a time."""
    values = {"size": arguments.sizes, "batch": arguments.batches, "width": arguments.widths}
    for axis in arguments.axes:
        for value in values[axis]:
            yield dataclasses.replace(base, **{axis: value})


def measure(point: Point, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compiles a step, with and without rematerialisation, and runs it."""
    row: dict[str, Any] = {"levels": _num_levels(point.size)}
    row |= {"seconds": None, "matrix_gflops": None}
    if not arguments.no_times:
        row["matrix_gflops"] = matrix_rate()
    for remat in ("none", "aad"):
        step = OurStep(_scale(point), point.batch, remat=remat)
        lowered = step.lower()
        timed = remat == "none" and not arguments.no_times
        compiled = lowered.compile(compiler_options=None if timed else _UNOPTIMISED)
        memory = compiled.memory_analysis()
        row["arguments_gib"] = memory.argument_size_in_bytes / 2**30
        row[f"temporaries_gib_{remat}"] = memory.temp_size_in_bytes / 2**30
        if timed:
            inputs, _ = lowered.args_info
            row["seconds"] = _time(compiled, inputs, step.batch, arguments.steps)
        gc.collect()
    return row


def _scale(point: Point) -> Scale:
    """The paper's step, narrower and at another size."""
    paper, levels = SCALES["paper"], _num_levels(point.size)

    def narrow(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(_LEAST_WIDTH, round(width * point.width)) for width in channels)

    return dataclasses.replace(
        paper,
        image_size=point.size,
        encoder=narrow(paper.encoder[:levels]),
        generator=narrow(paper.generator[-levels - 1 :]),
        judge_width=max(_LEAST_WIDTH, round(paper.judge_width * point.width)),
        **_IDENTITY,
    )


def _num_levels(size: int) -> int:
    """How often the encoder halves pictures: the paper's, a level less for each halving of them."""
    return max(1, min(len(SCALES["paper"].encoder), size.bit_length() - 2))


def _time(compiled: jax.stages.Compiled, inputs: Any, batch: Any, steps: int) -> float:
    """Median seconds of a step; a first one does not count."""
    random = np.random.default_rng(0)

    def draw(info: Any) -> jax.Array:
        # Above 0, because variances are among them; otherwise the values do not matter.
        return jax.device_put((0.02 * random.random(info.shape, np.float32)).astype(info.dtype))

    state, frozen = jax.tree.map(draw, inputs[:2])
    seconds = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(compiled(state, frozen, batch))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def panels(base: Point, rows: dict[Point, dict[str, Any]], axes: list[str]) -> list[Panel]:
    """Above the times of all axes, below the memory."""
    names = {"size": "side of the pictures, pixels", "batch": "pictures a step"}
    names["width"] = "width, paper's = 1"
    times, memory = [], []
    for axis in axes:
        along = {
            getattr(point, axis): row
            for point, row in rows.items()
            if dataclasses.replace(point, **{axis: getattr(base, axis)}) == base
        }
        others = [f"{name} {getattr(base, name):g}" for name in AXES if name != axis]
        title = ", ".join(others)
        timed = {x: row["seconds"] for x, row in along.items() if row["seconds"]}
        if timed:
            times.append((title, names[axis], "seconds a step", {"": list(timed.items())}))
        kinds = {"kept": "temporaries_gib_none", "remat": "temporaries_gib_aad"}
        series = {
            name: [(x, row["arguments_gib"] + row[key]) for x, row in along.items()]
            for name, key in kinds.items()
        }
        memory.append((title, names[axis], "GiB a step", series))
    return times + memory


if __name__ == "__main__":
    sys.exit(main())
