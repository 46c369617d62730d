"""Evaluations side by side: what differs, and whether by more than chance."""

import contextlib
import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.evaluating import STEPS_DIRECTORY
from faceshifter_jax.evaluation.intervals import Interval, bootstrap_mean
from faceshifter_jax.evaluation.presentation import format_value
from faceshifter_jax.evaluation.results import METRICS_FILE, read_record, read_values
from faceshifter_jax.files import publish_file
from faceshifter_jax.training.checkpoint import DIRECTORY

_MUST_AGREE = ("judge_sha256", "data_sha256", "features")
_WORDS = {
    "judge_sha256": "judges",
    "data_sha256": "pictures or pairs",
    "features": "features of the distances between sets",
}


@dataclass(frozen=True)
class Result:
    """An evaluation on the disk.

    Attributes:
      name: what to call it.
      record: its metrics.json.
      values: metric -> its value pair by pair; empty where they were not kept.
    """

    name: str
    record: dict[str, Any]
    values: dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How a metric of one evaluation differs from that of the first one.

    Attributes:
      value: the other's less the first's.
      interval: 95 % interval of it.
      paired: whether it is over the same pairs, which makes it narrower.
    """

    value: float
    interval: Interval
    paired: bool

    @property
    def matters(self) -> bool:
        """Whether the two differ on any pair."""
        return (self.value, *self.interval) != (0, 0, 0)

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        low, high = self.interval
        return low > 0 or high < 0


def find_result(path: Path, protocol: str | None) -> Result:
    """Finds the evaluation that a path means.

    Args:
      path: a metrics.json, a directory with one, a training's workdir or one of its checkpoints.
      protocol: which one, where a workdir has several.

    Raises:
      UserError: there is none, or there are several.
    """
    files = [file for file in _candidates(path) if file.is_file()]
    records = {file: read_record(file) for file in files}
    if path.parent.name == DIRECTORY:
        records = {f: r for f, r in records.items() if r["step"] == int(path.name)}
    if protocol:
        records = {f: r for f, r in records.items() if r["protocol"] == protocol}
    # The same step may stand in its own directory and in that of the newest.
    by_protocol = {record["protocol"]: file for file, record in records.items()}
    if not by_protocol:
        raise UserError(
            f"{path} has no metrics{f' of {protocol}' if protocol else ''}: make them with "
            f"`faceshifter evaluate --checkpoint {path}`, or name a metrics.json"
        )
    if len(by_protocol) > 1:
        raise UserError(
            f"{path} was evaluated by {', '.join(sorted(by_protocol))}: choose one with --protocol"
        )
    (file,) = by_protocol.values()
    record = records[file]
    return Result(f"{record['checkpoint_name']}@{record['step']}", record, read_values(file.parent))


def _candidates(path: Path) -> Iterator[Path]:
    if path.suffix == ".json":
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        yield path
    elif path.parent.name == DIRECTORY:
        top = path.absolute().parents[1] / "evaluation"
        yield from sorted(top.glob(METRICS_FILE))
        yield from sorted(top.glob(f"*/{METRICS_FILE}"))
        yield from sorted(top.glob(f"*/{STEPS_DIRECTORY}/{path.name}/{METRICS_FILE}"))
    else:
        yield path / METRICS_FILE
        yield from sorted((path / "evaluation").glob(METRICS_FILE))
        yield from sorted((path / "evaluation").glob(f"*/{METRICS_FILE}"))


def compare_results(results: Sequence[Result], output: str | None, overwrite: bool) -> list[str]:
    """Compares evaluations with the first one.

    Args:
      results: two or more, of one protocol.
      output: CSV file to write; None for none.
      overwrite: whether that may exist.

    Returns:
      lines for a reader.

    Raises:
      UserError: fewer than two, or evaluations that measured in different ways.
    """
    first, *others = results
    if not others:
        raise UserError("one evaluation alone cannot be compared: name another one")
    ways = {(r.record["protocol"], r.record["protocol_version"]) for r in results}
    if len(ways) > 1:
        shown = ", ".join(f"{name} {version}" for name, version in sorted(ways))
        raise UserError(f"these were measured in different ways ({shown}): evaluate them again")
    rows = [
        (name, [find_difference(name, first, other) for other in others])
        for name in first.record["intervals"]
        if all(name in result.record for result in others)
    ]
    with contextlib.ExitStack() as stack:
        if output:
            path = stack.enter_context(publish_file(output, overwrite=overwrite))
            _write_table(path, results, rows)
    return [*_notes(results), *_lines(results, rows), *([f"wrote {output}"] if output else [])]


def find_difference(metric: str, first: Result, other: Result) -> Difference | None:
    """Says how a metric differs; None where one of them has no value.

    Over the same pairs the differences pair by pair are resampled; otherwise the half widths of
    both intervals are added as independent errors are.
    """
    before, after = first.record[metric], other.record[metric]
    if before is None or after is None:
        return None
    same = first.record["data_sha256"] == other.record["data_sha256"]
    values = [result.values.get(metric) for result in (first, other)]
    if same and all(value is not None for value in values):
        return Difference(after - before, bootstrap_mean(values[1] - values[0]), True)
    halves = []
    for result in (first, other):
        low, high = result.record["intervals"][metric]
        halves.append(math.nan if low is None or high is None else (high - low) / 2)
    width = math.hypot(*halves)
    return Difference(after - before, (after - before - width, after - before + width), False)


def _notes(results: Sequence[Result]) -> list[str]:
    different = [
        _WORDS[name]
        for name in _MUST_AGREE
        if len({str(result.record.get(name)) for result in results}) > 1
    ]
    if not different:
        return []
    return [f"note: these have different {' and '.join(different)}, so take differences with care"]


def _lines(results: Sequence[Result], rows: Sequence[Any]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    columns = [max(14, len(result.name)) for result in results]
    head = "  ".join(f"{r.name:>{c}s}" for r, c in zip(results, columns, strict=True))
    lines = [f"{'':{width}s}  {head}  difference (95 % interval)"]
    # What is no matter of the checkpoints, as the lazy answers' metrics, is in the table alone.
    differing = [row for row in rows if any(d is None or d.matters for d in row[1])]
    for name, differences in differing:
        values = "  ".join(
            f"{format_value(name, result.record[name]):>{column}s}"
            for result, column in zip(results, columns, strict=True)
        )
        shown = ";  ".join(_describe(name, difference) for difference in differences)
        lines.append(f"{name:{width}s}  {values}  {shown}")
    if len(differing) < len(rows):
        lines.append(f"{len(rows) - len(differing)} other metrics are the same")
    lines.append("* beyond the interval: 95 % of resamples of the pairs agree on its sign")
    return lines


def _describe(metric: str, difference: Difference | None) -> str:
    if difference is None:
        return "not measured"
    value, low, high = (
        format_value(metric, number) for number in (difference.value, *difference.interval)
    )
    mark = " *" if difference.beyond_chance else ""
    sign = "+" if difference.value > 0 else ""
    return f"{sign}{value} ({low} to {high}){mark}"


def _write_table(path: Path, results: Sequence[Result], rows: Sequence[Any]) -> None:
    first, *others = results
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *("metric", "first", "first_value", "other", "other_value"),
                *("difference", "low", "high", "beyond_interval", "same_pairs"),
            ]
        )
        for name, differences in rows:
            for other, difference in zip(others, differences, strict=True):
                given = (name, first.name, first.record[name], other.name, other.record[name])
                if difference is None:
                    writer.writerow(given)
                    continue
                writer.writerow(
                    [
                        *given,
                        *(difference.value, *difference.interval),
                        *(difference.beyond_chance, difference.paired),
                    ]
                )
