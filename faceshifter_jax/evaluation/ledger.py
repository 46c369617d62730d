"""The ledger of an output directory: a line for every evaluation that was finished."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text

LEDGER_FILE = "evaluations.jsonl"

COMPARABLE = (
    *("protocol", "protocol_version", "judge_sha256", "data_sha256"),
    *("features_sha256", "features_range", "pose_sha256", "pose_range"),
    *("expression_sha256", "expression_range", "expression_part"),
)
"""What two evaluations have in common whose figures can be compared; null is none in both."""


def read_ledger(directory: Path) -> list[dict[str, Any]]:
    """Reads the finished evaluations, the oldest first.

    Raises:
      UserError: a line is broken.
    """
    return read_lines(directory / LEDGER_FILE)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file with a JSON object of a `step` in every line; [] where there is no file.

    A last line that is being written, or was cut off when a process was killed, does not count.

    Raises:
      UserError: another line is broken.
    """
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
            entry["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"line {number} of {path} says nothing of a step: remove it") from error
        entries.append(entry)
    return entries


def append_to_ledger(directory: Path, entry: Mapping[str, Any]) -> None:
    """Adds a line; it is on the disk when this returns, or there is none."""
    path = directory / LEDGER_FILE
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        whole = path.read_text().splitlines(keepends=True)[:-1]
        write_text(path, "".join(whole))
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two evaluations measured the same way, on the same data and by the same judge."""
    return all(first.get(name) == second.get(name) for name in (*COMPARABLE, "stages"))
