"""Shared parts of the benchmarks: timing in turns, the machine, tables and JSON."""

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Reads a command line; `description` keeps its lines, and an error is one."""

    def __init__(self, description: str):
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: whole numbers from `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < least:
            raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}: {text!r}")
        return number

    return parse


def above_zero(text: str) -> float:
    """An argparse type: numbers above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0: {text!r}")
    return number


def check_output(parser: argparse.ArgumentParser, path: str | Path | None) -> None:
    """Makes the folder of a file to write; ends with a line and exit code 2 if that cannot be.

    For right after parsing: a file that cannot be written is reported before the work, not after
    it.
    """
    if path is None:
        return
    path = Path(path)
    if path.is_dir():
        parser.error(f"{path} is a folder: name the file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Permissions do not show that a disk is read-only.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        parser.error(f"cannot write to the folder {path.parent}: {error.strerror}")


def seconds_in_turns(
    runs: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Runs each function once a round, one after the other, so that conditions are the same.

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


def matrix_rate(size: int = 2048, rounds: int = 7, dtype: str = "float32") -> float:
    """GFLOP/s of a product of square matrices by JAX: what the machine can compute."""
    import jax
    import jax.numpy as jnp

    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(lambda m: m @ m)
    return _product_rate(lambda: product(matrix).block_until_ready(), size, rounds)


def bfloat16_rate(size: int = 2048, rounds: int = 7) -> tuple[float, str]:
    """As `matrix_rate` in bfloat16, and who multiplied: PyTorch where it is installed, else JAX.

    XLA multiplies bfloat16 in float32 on many CPUs that can do better.
    """
    torch = _import_torch()
    if torch is None:
        return matrix_rate(size, rounds, "bfloat16"), "jax"
    matrix = torch.ones((size, size), dtype=torch.bfloat16)
    return _product_rate(lambda: matrix @ matrix, size, rounds), "torch"


def _product_rate(product: Callable[[], Any], size: int, rounds: int) -> float:
    seconds = seconds_in_turns({"": product}, rounds)[""]
    return 2 * size**3 / statistics.median(seconds) / 1e9


def _import_torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def machine() -> dict[str, Any]:
    """What is measured, for right before it: the processor, its cores, GiB of memory, versions.

    `load_average` is of the last 1, 5 and 15 minutes; `torch_threads` is None without torch.
    """
    from importlib import metadata

    # Before anything here adds its own load.
    load, torch = os.getloadavg(), _import_torch()
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
        "load_average": [round(value, 2) for value in load],
        "torch_threads": torch and torch.get_num_threads(),
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
    """Writes a benchmark's result into a folder that `check_output` made."""
    from faceshifter_jax.files import write_text

    write_text(Path(path), json.dumps(result, indent=1) + "\n")
