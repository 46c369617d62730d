"""The ledger of an output directory: one line for every finished evaluation."""

import contextlib
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_bytes, write_text
from faceshifter_jax.inputs import read_input
from faceshifter_jax.places import open_in_place

LEDGER_FILE = "evaluations.jsonl"
_ASIDE = "evaluations.damaged_"
_LARGEST_LEDGER = 2**30

COMPARABLE = (
    *("protocol", "protocol_version", "judge_sha256", "data_sha256"),
    *("features_sha256", "features_range", "pose_sha256", "pose_range"),
    *("expression_sha256", "expression_range", "expression_part"),
)
"""Facts that must be equal for figures to be comparable; null if both have none."""


class DamagedLines(UserError):
    """A file of JSON lines some of which are none; `whole` are the others."""

    def __init__(self, path: Path, number: int, whole: list[dict[str, Any]]):
        super().__init__(f"line {number} of {path} does not name a step: remove it")
        self.number = number
        self.whole = whole


def read_ledger(directory: Path) -> list[dict[str, Any]]:
    """Reads the finished evaluations, the oldest first.

    Raises:
      DamagedLines: a line is broken.
      UserError: it cannot be read.
    """
    return read_lines(directory / LEDGER_FILE)


def mend_ledger(directory: Path) -> str | None:
    """Sets a damaged ledger aside and begins a new one with the lines of it that are whole.

    Returns:
      what the user is to know; None where it is whole, or there is none.

    Raises:
      UserError: it cannot be read or written, or is not an ordinary file.
    """
    path = directory / LEDGER_FILE
    if not os.path.lexists(path):
        return None
    os.close(open_in_place(path, os.O_WRONLY))
    try:
        read_ledger(directory)
    except DamagedLines as damage:
        aside = _free_name(directory)
        path.rename(aside)
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in damage.whole))
        return (
            f"the history {path} is damaged in line {damage.number}: it is set aside as "
            f"{aside.name}, and continues with the {len(damage.whole)} evaluations that can be read"
        )
    return None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file with a JSON object of a `step` in every line; [] where there is no file.

    A last line that is being written, or was cut off when a process was killed, does not count.

    Raises:
      DamagedLines: another line is broken.
      UserError: the file cannot be read.
    """
    if not path.exists():
        return []
    lines = read_input(path, _LARGEST_LEDGER).splitlines(keepends=True)
    broken = []
    entries = []
    for number, line in enumerate(lines, start=1):
        entry = _parse(line)
        if entry is not None:
            entries.append(entry)
        elif line.endswith(b"\n") or number < len(lines):
            broken.append(number)
    if broken:
        raise DamagedLines(path, broken[0], entries)
    return entries


def _parse(line: bytes) -> dict[str, Any] | None:
    """Returns the entry in a whole line; None where there is none, or it cannot be relied on."""
    with contextlib.suppress(ValueError, RecursionError):
        entry = json.loads(line) if line.endswith(b"\n") else None
        if isinstance(entry, dict) and _is_count(entry.get("step")) and _fits(entry):
            return entry
    return None


def _fits(entry: Mapping[str, Any]) -> bool:
    """Whether what an entry says has the types that its readers rely on."""
    metrics, intervals = entry.get("metrics", {}), entry.get("intervals", {})
    return (
        isinstance(entry.get("checkpoint", ""), str)
        and isinstance(metrics, dict)
        and all(is_number_or_none(value) for value in metrics.values())
        and isinstance(intervals, dict)
        and all(is_interval(ends) for ends in intervals.values())
    )


def is_number_or_none(value: Any) -> bool:
    """Whether a JSON value can be counted with, or is null."""
    if isinstance(value, bool):
        return False
    return value is None or isinstance(value, float) or _is_count(value, -(2**63))


def is_interval(ends: Any) -> bool:
    """Whether a JSON value is a list of two numbers, each of which may be null."""
    return isinstance(ends, list) and len(ends) == 2 and all(map(is_number_or_none, ends))


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def _free_name(directory: Path) -> Path:
    names = (f"{_ASIDE}{number}.jsonl" for number in itertools.count(1))
    return next(path for name in names if not os.path.lexists(path := directory / name))


def append_to_ledger(directory: Path, entry: Mapping[str, Any]) -> None:
    """Adds a line; it is on the disk when this returns, or there is none."""
    path = directory / LEDGER_FILE
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        whole = path.read_bytes().splitlines(keepends=True)[:-1]
        write_bytes(path, b"".join(whole))
    with os.fdopen(open_in_place(path, os.O_WRONLY | os.O_APPEND), "a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two evaluations measured the same way, on the same data and by the same judge."""
    return all(first.get(name) == second.get(name) for name in (*COMPARABLE, "stages"))
