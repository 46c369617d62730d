"""The `metrics.jsonl` of a workdir."""

import json
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text

METRICS_FILE = "metrics.jsonl"


def drop_later_lines(path: Path, step: int) -> None:
    """Keeps the lines of a metrics file up to `step`, so that a resumed run writes no line twice.

    A last line that was cut off when the run was killed goes too.

    Raises:
      UserError: any other line is broken.
      OSError: the file cannot be read or written.
    """
    if not path.exists():
        return
    try:
        lines = path.read_text().splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: move it away, it only holds a log") from error
    kept = []
    for number, line in enumerate(lines, start=1):
        if line.endswith("\n") and _step_of(line, f"line {number} of {path}") <= step:
            kept.append(line)
    write_text(path, "".join(kept))


def _step_of(line: str, place: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"{place} does not hold the metrics of a step: remove that line") from error
