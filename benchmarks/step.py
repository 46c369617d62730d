"""Times our AEI training step against the same step in plain PyTorch, in turns.

    python benchmarks/step.py --batch 2 4 --output benchmarks/results/step.json

Every opponent has a process of its own in every round, so that its memory is its own and no two
are in memory together; a round measures each of them, one after the other. Compiled programs of
ours are kept from round to round in a temporary folder. What cannot run, as `torch.compile`
without a C++ compiler, is reported and left out.
"""

import on_cpu  # noqa: F401

# isort: split
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
from step_scale import SCALES

OPPONENTS = (
    "ours-float32",
    "ours-bfloat16",
    "torch-eager-float32",
    "torch-eager-bfloat16",
    "torch-channels_last-float32",
    "torch-channels_last-bfloat16",
    "torch-compile-float32",
    "torch-compile-bfloat16",
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--scale", choices=SCALES, default="paper", help="sizes (default: paper)")
    parser.add_argument("--batch", type=at_least(1), nargs="+", default=[2], help="pictures a step")
    parser.add_argument("--opponents", nargs="+", choices=OPPONENTS, default=list(OPPONENTS))
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each opponent")
    parser.add_argument("--steps", type=at_least(1), default=3, help="measured steps of a process")
    parser.add_argument("--timeout", type=above_zero, default=1800, help="seconds for a process")
    parser.add_argument("--cache", help="keep our compiled programs in this folder")
    parser.add_argument("--output", help="JSON file to write")
    parser.add_argument("--worker", choices=(*OPPONENTS, "count"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    check_output(parser, options.output)
    return options


def main() -> int:
    options = parse()
    if options.worker:
        print(json.dumps(work(options)))
        return 0
    results = {"machine": machine(), "scale": options.scale, "batches": []}
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or folder
        for batch in options.batch:
            result = measure(options, batch, cache)
            results["batches"].append(result)
            report(result)
            if options.output:
                write_json(options.output, results)
    ran = [row for result in results["batches"] for row in result["opponents"] if row["steps"]]
    return 0 if ran else 1


def measure(options: argparse.Namespace, batch: int, cache: str) -> dict[str, Any]:
    """Runs all rounds for one batch size."""
    gflop = _process(options, "count", batch, cache)["operations"] / 1e9
    rows = {name: {"name": name, "steps": [], "memory_gib": 0.0} for name in options.opponents}
    rates = []
    for _ in range(options.rounds):
        rates.append(matrix_rate())
        for name, row in rows.items():
            if "failed" in row:
                continue
            try:
                measured = _process(options, name, batch, cache)
            except RuntimeError as error:
                row["failed"] = str(error)
                continue
            row["steps"] += measured["seconds"]
            row["memory_gib"] = max(row["memory_gib"], measured["memory_gib"])
            row["first_step_seconds"] = measured["first_seconds"]
    for row in rows.values():
        if row["steps"]:
            row["median_seconds"] = statistics.median(row["steps"])
            row["gflop_per_second"] = gflop / row["median_seconds"]
    return {
        "batch": batch,
        "gflop": gflop,
        "matrix_gflop_per_second": statistics.median(rates),
        "opponents": list(rows.values()),
    }


def _process(options: argparse.Namespace, name: str, batch: int, cache: str) -> dict[str, Any]:
    """Runs one worker; RuntimeError with the last line that it wrote where it fails."""
    command = [
        *(sys.executable, __file__, "--worker", name, "--scale", options.scale),
        *("--batch", str(batch), "--steps", str(options.steps), "--cache", cache),
    ]
    print(f"batch {batch}: {name} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took longer than {options.timeout:g} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        lines += [*done.stderr.splitlines()[-1:], f"exit code {done.returncode}"]
        raise RuntimeError(lines[0].strip())
    return json.loads(done.stdout.splitlines()[-1])


def work(options: argparse.Namespace) -> dict[str, Any]:
    """What a worker does: one opponent, one batch size."""
    (batch,), scale = options.batch, SCALES[options.scale]
    library, *modes = options.worker.split("-")
    if library == "torch":
        from step_torch import TorchStep

        step = TorchStep(scale, batch, modes[-1], "compile" in modes, "channels_last" in modes)
    else:
        # Read when JAX starts.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = options.cache
        from step_ours import OurStep

        if options.worker == "count":
            return {"operations": OurStep(scale, batch).operations()}
        step = OurStep(scale, batch, modes[-1])
    step.start()
    seconds = []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        metrics = step.run()
        seconds.append(time.perf_counter() - start)
    return {
        "first_seconds": seconds[0],
        "seconds": seconds[1:],
        "memory_gib": _peak_memory() / 2**30,
        "metrics": metrics,
    }


def _peak_memory() -> int:
    """The most bytes of memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        # A child's ru_maxrss begins at its parent's peak.
        if "VmHWM" in lines:
            return 2**10 * int(lines["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 2**10 * peak


def report(result: dict[str, Any]) -> None:
    """Prints a batch size's table."""
    batch, rate = result["batch"], result["matrix_gflop_per_second"]
    print(
        f"\nbatch {batch}: {result['gflop']:.0f} GFLOP a step; matrix product {rate:.0f} GFLOP/s\n"
    )
    rows = []
    for row in result["opponents"]:
        if not row["steps"]:
            continue
        rows.append(
            {
                "step": row["name"],
                "ms a step": 1e3 * row["median_seconds"],
                "pictures/s": batch / row["median_seconds"],
                "GFLOP/s": row["gflop_per_second"],
                "of the matrix rate": row["gflop_per_second"] / rate,
                "peak GiB": row["memory_gib"],
            }
        )
    print_table(rows)
    for row in result["opponents"]:
        if "failed" in row:
            print(f"{row['name']} failed: {row['failed']}")


if __name__ == "__main__":
    sys.exit(main())
