"""What the benchmarks share: timing in turns, the machine, tables and JSON."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def seconds_in_turns(
    runs: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Runs each function once a round, one after the other, so that all meet the same moods.

    Args:
      runs: functions that return when their work is done.
      rounds: measured ones.
      warm_up: rounds before them that do not count: compilation, first touches of memory.

    Returns:
      The seconds of each measured call, keyed like `runs`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warm_up + rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def matrix_rate(size: int = 2048, rounds: int = 7) -> float:
    """GFLOP/s of a float32 product of square matrices by JAX: what the machine can compute."""
    import jax
    import jax.numpy as jnp

    matrix = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda m: m @ m)
    seconds = seconds_in_turns({"": lambda: product(matrix).block_until_ready()}, rounds)[""]
    return 2 * size**3 / statistics.median(seconds) / 1e9


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory in GiB and the versions that were measured."""
    from importlib import metadata

    versions = {}
    for package in ("jax", "jaxlib", "flax", "torch"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    # platform.processor() is empty on most Linux systems.
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows of equal keys as a Markdown table; numbers with three digits at least."""
    if not rows:
        return
    cells = [list(rows[0])] + [[_text(value) for value in row.values()] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for number, line in enumerate(cells):
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print(f"| {' | '.join(padded)} |")
        if number == 0:
            print(f"|{'|'.join('-' * (width + 2) for width in widths)}|")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def write_json(path: str | Path, result: Mapping[str, Any]) -> None:
    """Writes a benchmark's result; its folder is made."""
    from faceshifter_jax.files import write_text

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(result, indent=1) + "\n")
