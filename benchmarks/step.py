"""Times our AEI training step against the same step in plain PyTorch, in turns.

    python benchmarks/step.py --batch 2 4 --output benchmarks/results/step.json

Every opponent has a process of its own in every round, so that its memory is its own and no two
are in memory together; a round measures each of them, one after the other. Each compiles its own
program. A process that fails is reported, and the steps of the others count; what never ran, as
`torch.compile` without a C++ compiler, is not tried again.
"""

import on_cpu  # noqa: F401

# isort: split
import argparse
import json
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import (
    Parser,
    above_zero,
    at_least,
    bfloat16_rate,
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
    for batch in options.batch:
        result = measure(options, batch)
        results["batches"].append(result)
        report(result)
        if options.output:
            write_json(options.output, results)
    ran = [row for result in results["batches"] for row in result["opponents"] if row["steps"]]
    return 0 if ran else 1


def measure(options: argparse.Namespace, batch: int) -> dict[str, Any]:
    """Runs all rounds for one batch size."""
    gflop = _process(options, "count", batch)["operations"] / 1e9
    rows = [
        {"name": name, "steps": [], "first_step_seconds": [], "memory_gib": 0.0, "failed": []}
        for name in options.opponents
    ]
    rates, narrow_rates = [], []
    for _ in range(options.rounds):
        rates.append(matrix_rate())
        rate, multiplied_by = bfloat16_rate()
        narrow_rates.append(rate)
        for row in rows:
            if row["steps"] or not row["failed"]:
                _add_process(row, options, batch)
    for row in rows:
        if row["steps"]:
            row["median_seconds"] = statistics.median(row["steps"])
            row["gflop_per_second"] = gflop / row["median_seconds"]
    return {
        "batch": batch,
        "gflop": gflop,
        "matrix_gflop_per_second": statistics.median(rates),
        "bfloat16_matrix_gflop_per_second": statistics.median(narrow_rates),
        "bfloat16_multiplied_by": multiplied_by,
        "opponents": rows,
    }


def _add_process(row: dict[str, Any], options: argparse.Namespace, batch: int) -> None:
    """Runs one process of an opponent and adds to its row what it measured, or how it failed."""
    try:
        measured = _process(options, row["name"], batch)
    except RuntimeError as error:
        row["failed"].append(str(error))
        return
    row["steps"] += measured["seconds"]
    row["first_step_seconds"].append(measured["first_seconds"])
    row["memory_gib"] = max(row["memory_gib"], measured["memory_gib"])


def _process(options: argparse.Namespace, name: str, batch: int) -> dict[str, Any]:
    """Runs one worker; RuntimeError with a line on how it failed."""
    command = [
        *(sys.executable, __file__, "--worker", name, "--scale", options.scale),
        *("--batch", str(batch), "--steps", str(options.steps)),
    ]
    print(f"batch {batch}: {name} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took longer than {options.timeout:g} s") from None
    if done.returncode < 0:
        raise RuntimeError(f"killed by {_signal_name(-done.returncode)}")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        lines += [*done.stderr.splitlines()[-1:], f"exit code {done.returncode}"]
        raise RuntimeError(lines[0].strip())
    return json.loads(done.stdout.splitlines()[-1])


def _signal_name(number: int) -> str:
    return {known: known.name for known in signal.Signals}.get(number, f"signal {number}")


def work(options: argparse.Namespace) -> dict[str, Any]:
    """Runs a worker: one opponent, one batch size."""
    (batch,), scale = options.batch, SCALES[options.scale]
    library, *modes = options.worker.split("-")
    if library == "torch":
        from step_torch import TorchStep

        step = TorchStep(scale, batch, modes[-1], "compile" in modes, "channels_last" in modes)
    else:
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
    rates = {
        "float32": result["matrix_gflop_per_second"],
        "bfloat16": result["bfloat16_matrix_gflop_per_second"],
    }
    print(
        f"\nbatch {result['batch']}: {result['gflop']:.3g} GFLOP a step; matrix product "
        f"{rates['float32']:.0f} GFLOP/s in float32, {rates['bfloat16']:.0f} in bfloat16 by "
        f"{result['bfloat16_multiplied_by']}\n"
    )
    print_table([_table_row(row, result["batch"], rates) for row in result["opponents"]])
    for row in result["opponents"]:
        for what in row["failed"]:
            print(f"{row['name']} failed: {what}")


def _table_row(row: dict[str, Any], batch: int, rates: dict[str, float]) -> dict[str, Any]:
    seconds, failed = row.get("median_seconds"), len(row["failed"])
    return {
        "step": row["name"],
        "ms a step": seconds and 1e3 * seconds,
        "pictures/s": seconds and batch / seconds,
        "GFLOP/s": seconds and row["gflop_per_second"],
        "of its matrix rate": seconds
        and row["gflop_per_second"] / rates[row["name"].split("-")[-1]],
        "peak GiB": seconds and row["memory_gib"],
        "processes failed": f"{failed} of {failed + len(row['first_step_seconds'])}",
    }


if __name__ == "__main__":
    sys.exit(main())
