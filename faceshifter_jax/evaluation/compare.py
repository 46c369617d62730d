"""Comparing evaluations: differences, and whether they exceed chance."""

import contextlib
import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.checkpoints.reading import DIRECTORY
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.evaluate import STEPS_DIRECTORY
from faceshifter_jax.evaluation.findings import (
    METRICS_FILE,
    finite_mean,
    hash_values,
    read_record,
    read_values,
)
from faceshifter_jax.evaluation.intervals import Interval, difference_interval, jackknife_interval
from faceshifter_jax.evaluation.ledger import COMPARABLE, is_number_or_none
from faceshifter_jax.evaluation.presentation import (
    Metric,
    format_value,
    metric_of,
    pleases_the_judge,
)
from faceshifter_jax.files import publish_file

_WORDS = {
    "judge": "judges",
    "data": "pictures or pairs",
    "features": "features of the distances between sets",
    "pose": "estimators of poses",
    "expression": "estimators of expressions",
}
_COLUMNS = (
    *("metric", "first", "first_value", "other", "other_value"),
    *("difference", "low", "high", "beyond_interval", "same_pairs"),
)


@dataclass(frozen=True)
class Result:
    """An evaluation on the disk.

    Attributes:
      name: what to call it.
      directory: where it lies, absolute.
      record: its metrics.json.
      values: metric -> its value pair by pair; empty where they were not kept.
    """

    name: str
    directory: Path
    record: dict[str, Any]
    values: dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """The difference of a metric between an evaluation and the first one.

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
      path: a metrics.json, a directory with one, a training run's workdir or one of its
        checkpoints.
      protocol: which one, where a workdir has several.

    Raises:
      UserError: there is none, or there are several.
    """
    if path.name == DIRECTORY:
        raise UserError(f"{path} holds checkpoints: name one of them, or {path.parent}")
    files = [file for file in _candidates(path) if file.is_file()]
    records = {file: read_record(file) for file in files}
    if path.parent.name == DIRECTORY:
        records = {f: r for f, r in records.items() if str(r["step"]) == path.name}
    if protocol:
        records = {f: r for f, r in records.items() if r["protocol"] == protocol}
    if not records:
        raise UserError(
            f"{path} has no metrics{f' of {protocol}' if protocol else ''}: make them with "
            f"`faceshifter evaluate --checkpoint {path}`, or name a metrics.json"
        )
    found = {record["protocol"] for record in records.values()}
    if len(found) > 1:
        raise UserError(
            f"{path} was evaluated by {', '.join(sorted(found))}: choose one with --protocol"
        )
    file = _choose_file(path, list(records), *found)
    record, values = records[file], read_values(file.parent)
    if values and hash_values(values) != record.get("values_sha256"):
        raise UserError(
            f"the values.npz next to {file} is of another evaluation: evaluate again, or remove it"
        )
    name = _at_step(record["checkpoint_name"], record)
    return Result(name, file.absolute().parent, record, values)


def name_apart(results: Sequence[Result]) -> list[Result]:
    """Gives evaluations of equal names the shortest names that distinguish them.

    Names are the ends of the paths of the training runs, then, for two evaluations of one training
    run, those of the evaluations. The same evaluation named twice keeps its name.
    """
    if len({result.name for result in results}) == len(results):
        return list(results)
    trainings = [_training(result.record) for result in results]
    for paths in (trainings, [result.directory for result in results]):
        for length in range(1, max(len(path.parts) for path in paths) + 1):
            ends = ["/".join(path.parts[-length:]).replace("//", "/") for path in paths]
            names = [_at_step(e, r.record) for e, r in zip(ends, results, strict=True)]
            if len(set(names)) == len(names):
                return [replace(r, name=n) for r, n in zip(results, names, strict=True)]
    return list(results)


def _training(record: Mapping[str, Any]) -> Path:
    place = Path(record["checkpoint"]).absolute()
    return place.parents[1] if place.parent.name == DIRECTORY else place


def _at_step(name: str, record: Mapping[str, Any]) -> str:
    return f"{name}@{record['step']}" if record["step"] else name


def _choose_file(path: Path, files: Sequence[Path], protocol: str) -> Path:
    """The evaluation by a protocol that lies where `faceshifter evaluate` puts it, or the only one.

    The same step may lie in its own directory and in that of the newest.
    """
    homes = {f.parents[2] if f.parents[1].name == STEPS_DIRECTORY else f.parent: f for f in files}
    usual = [home for home in homes if home == path or home.name == protocol]
    if len(homes) > 1 and len(usual) != 1:
        raise UserError(
            f"{path} has several evaluations by {protocol}: name the metrics.json of one of them"
        )
    return homes[usual[0]] if usual else files[0]


def _candidates(path: Path) -> Iterator[Path]:
    if path.suffix == ".json":
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        yield path
    elif path.parent.name == DIRECTORY:
        top = path.absolute().parents[1] / "evaluation"
        yield from sorted(top.glob(METRICS_FILE))
        yield from sorted(top.glob(f"*/{METRICS_FILE}"))
        yield from sorted(top.glob(f"{STEPS_DIRECTORY}/{path.name}/{METRICS_FILE}"))
        yield from sorted(top.glob(f"*/{STEPS_DIRECTORY}/{path.name}/{METRICS_FILE}"))
    else:
        yield path / METRICS_FILE
        yield from sorted((path / "evaluation").glob(METRICS_FILE))
        yield from sorted((path / "evaluation").glob(f"*/{METRICS_FILE}"))


def compare_results(
    results: Sequence[Result], output: str | None, overwrite: bool
) -> tuple[list[str], dict[str, Any]]:
    """Compares evaluations with the first one.

    Args:
      results: two or more, of one protocol.
      output: CSV file to write; None for none.
      overwrite: whether that may exist.

    Returns:
      lines for a reader, and the same for a program: `evaluations`, `notes`, and `differences`, a
      line of the table each. What is not finite is None.

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
        for name in dict.fromkeys(name for r in results for name in r.record["intervals"])
    ]
    with contextlib.ExitStack() as stack:
        if output:
            path = stack.enter_context(publish_file(output, overwrite=overwrite))
            _write_table(path, results, rows)
    record = {
        "evaluations": [
            {"name": result.name, "directory": str(result.directory)}
            | {key: result.record[key] for key in ("protocol", "step")}
            for result in results
        ],
        "notes": [*_notes(results), *_pleasing(results)],
        "differences": [_finite(row) for row in _table(results, rows)],
    }
    return [*_notes(results), *_lines(results, rows), *_pleasing(results)], record


def find_difference(metric: str, first: Result, other: Result) -> Difference | None:
    """Compares a metric of two evaluations; None if one of them has no value.

    Over the same pairs the differences pair by pair are resampled, and distances between sets
    are subtracted with the same groups of pairs left out; otherwise the distances of both from
    the ends of their intervals are added as independent errors are (Zou and Donner, 2008). A mean
    difference is that of the pairs which have a number in both.
    """
    before, after = first.record.get(metric), other.record.get(metric)
    if before is None or after is None or not all(map(is_number_or_none, (before, after))):
        return None
    same = first.record["data_sha256"] == other.record["data_sha256"]
    values = [result.values.get(metric) for result in (first, other)]
    known = [rows for rows in values if rows is not None]
    if same and len(known) == 2 and known[0].shape == known[1].shape:
        own = known[1] - known[0]
        interval = difference_interval(own, share=metric_of(metric, other.record).is_share)
        return Difference(finite_mean(own), interval, True)
    value = after - before
    groups = [result.record["jackknife"].get(metric) for result in (first, other)]
    if same and all(groups) and len(groups[0]) == len(groups[1]):
        left = np.array(groups, np.float64)
        return Difference(value, jackknife_interval(value, left[1] - left[0]), True)
    nothing = (None, None)
    ends = [r.record["intervals"].get(metric, nothing) for r in (first, other)]
    ends = np.array(ends, np.float64)
    below, above = np.abs(ends - [[before], [after]]).T
    low, high = value - math.hypot(above[0], below[1]), value + math.hypot(below[0], above[1])
    return Difference(value, (low, high), False)


def _notes(results: Sequence[Result]) -> list[str]:
    different = dict.fromkeys(
        _WORDS[name.partition("_")[0]]
        for name in COMPARABLE
        if len({str(result.record.get(name)) for result in results}) > 1
    )
    if not different:
        return []
    return [f"note: these have different {' and '.join(different)}, so take differences with care"]


def _pleasing(results: Sequence[Result]) -> list[str]:
    """Lists figures above those of the right answers, which do not mean better swaps."""
    return [
        f"{result.name}: {name} of {format_value(name, result.record)} {said}"
        for result in results
        for name in result.record["intervals"]
        if (said := pleases_the_judge(name, result.record))
    ]


def _lines(results: Sequence[Result], rows: Sequence[Any]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    columns = [max(14, len(result.name)) for result in results]
    head = "  ".join(f"{r.name:>{c}s}" for r, c in zip(results, columns, strict=True))
    lines = [f"{'':{width}s}  {head}  difference (95 % interval)"]
    # Metrics that do not depend on the checkpoints, as of the lazy answers, are only in the table.
    differing = [row for row in rows if any(d is None or d.matters for d in row[1])]
    for name, differences in differing:
        values = "  ".join(
            f"{format_value(name, result.record):>{column}s}"
            for result, column in zip(results, columns, strict=True)
        )
        metric = metric_of(name, results[0].record)
        shown = ";  ".join(_describe(metric, difference) for difference in differences)
        lines.append(f"{name:{width}s}  {values}  {shown}")
    if len(differing) < len(rows):
        lines.append(f"{len(rows) - len(differing)} metrics are the same on every pair")
    lines.append("* the interval leaves out 0")
    return lines


def _describe(metric: Metric, difference: Difference | None) -> str:
    if difference is None:
        return "not measured"
    value, low, high = (
        metric.format(number) for number in (difference.value, *difference.interval)
    )
    sign = "+" if difference.value > 0 else ""
    if not all(map(math.isfinite, difference.interval)):
        return f"{sign}{value} (no interval)"
    mark = " *" if difference.beyond_chance else ""
    return f"{sign}{value} ({low} to {high}){mark}"


def _write_table(path: Path, results: Sequence[Result], rows: Sequence[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(_table(results, rows))


def _table(results: Sequence[Result], rows: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yields a line for each metric and evaluation after the first, by `_COLUMNS`."""
    first, *others = results
    for name, differences in rows:
        for other, found in zip(others, differences, strict=True):
            before, after = first.record.get(name), other.record.get(name)
            rest = (None,) * 5
            if found is not None:
                rest = (found.value, *found.interval, found.beyond_chance, found.paired)
            yield dict(
                zip(_COLUMNS, (name, first.name, before, other.name, after, *rest), strict=True)
            )


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same in types and numbers that JSON has."""
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in plain.items()
    }
