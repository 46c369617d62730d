"""How the metrics of a protocol are shown: which ones, under which names, in which units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Headline:
    """A metric for readers in a hurry: what it says, and its name."""

    label: str
    metric: str


@dataclass(frozen=True)
class Table:
    """Metrics in rows and columns.

    Attributes:
      title, caption: for the reader.
      columns: their titles.
      rows: what a row says, and the metric in each column; a number where the value is known
        without measuring, None for none.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str | float | None, ...]], ...]


_SHARES = ("retrieval", "nearer_source", "retrieved")


def is_share(metric: str) -> bool:
    """Whether a metric is a share in [0, 1], shown in percent."""
    return any(part in metric for part in _SHARES)


def format_value(metric: str, value: float | None) -> str:
    """A metric's value with its unit, in words where it could not be had."""
    if value is None:
        return "not measured"
    if is_share(metric):
        return f"{100 * value:.1f} %"
    if "psnr" in metric:
        return f"{value:.2f} dB"
    if "cosine" in metric:
        return f"{value:.3f}"
    if "pose" in metric:
        return f"{value:.2f}°"
    if ("error" in metric and "expression" not in metric) or "change" in metric:
        return f"{value:.2f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def format_aim(metric: str) -> str:
    """Where a metric should go: an arrow up or down, or to the figure of the right answers."""
    if "index" in metric:
        return "→ 1"
    if "change" in metric:
        return "→ right answer"
    smaller = any(part in metric for part in ("error", "distance", "cosine_target"))
    return "↓" if smaller else "↑"


def format_interval(metric: str, record: Mapping[str, Any]) -> str:
    """A metric's interval in a record of metrics.json, "" where it has none."""
    ends = record["intervals"].get(metric)
    if not ends or None in ends:
        return ""
    return " to ".join(format_value(metric, end) for end in ends)


def pleases_the_judge(metric: str, record: Mapping[str, Any]) -> str:
    """Says so of a metric that lies above what the judge says of the right answers; else "".

    Records of earlier versions say nothing of it.
    """
    answer = record.get("above_right_answers", {}).get(metric)
    if answer is None:
        return ""
    right = f"{format_value(answer, record[answer])} ({format_interval(answer, record)})"
    return f"pleases the judge: above the right answers' {right}"
