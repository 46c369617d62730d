"""What a protocol finds out about a checkpoint, and how it is written down."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.intervals import Interval, bootstrap_mean
from faceshifter_jax.files import write_text

METRICS_FILE = "metrics.json"
VALUES_FILE = "values.npz"


@dataclass(frozen=True)
class Bin:
    """Pairs that share an attribute: its name, their number, and the mean of a metric."""

    name: str
    count: int
    mean: float
    interval: Interval


@dataclass(frozen=True)
class Ordered:
    """The bin of each pair, B names, and the order in which bins are shown."""

    labels: Sequence[str]
    order: Sequence[str]


@dataclass(frozen=True)
class Breakdown:
    """A metric by an attribute.

    Attributes:
      attribute: what the pairs differ in, such as `yaw of the target`.
      metric: which metric.
      series: what is compared (`swap`, `copy the target`) -> its bins, the same for each.
    """

    attribute: str
    metric: str
    series: Mapping[str, Sequence[Bin]]


@dataclass(frozen=True)
class Figure:
    """Rows of pictures.

    Attributes:
      title, caption: for the reader.
      columns: title of a column -> uint8 pictures (B, S, S, 3), a row of the figure each.
      rows: what is said of each row; empty, or B texts.
    """

    title: str
    caption: str
    columns: Mapping[str, np.ndarray]
    rows: Sequence[str] = ()


@dataclass(frozen=True)
class Findings:
    """What a protocol found out.

    Attributes:
      values: metric -> one number a pair; NaN where a pair has none. Its mean is the metric.
      figures: rows of pictures for the report.
      samples: title of a column -> a picture of every pair, of which rows are drawn at random.
      facts: plain values that say what was measured: counts, hash of the data.
      totals: metric -> (value, interval) for what is no mean over pairs.
      missing: metrics that could not be had, as an estimator was not named.
      breakdowns: metrics by attributes.
      distributions: title -> name -> one number a pair: what the report draws as histograms.
    """

    values: Mapping[str, np.ndarray]
    figures: Sequence[Figure]
    samples: Sequence[Mapping[str, np.ndarray]]
    facts: Mapping[str, Any]
    totals: Mapping[str, tuple[float, Interval]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    breakdowns: Sequence[Breakdown] = ()
    distributions: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def metrics(self) -> dict[str, float | None]:
        """Metric -> value: the means over the pairs, then the totals, then what is missing."""
        means = {name: finite_mean(values) for name, values in self.values.items()}
        totals = {name: value for name, (value, _) in self.totals.items()}
        return means | totals | dict.fromkeys(self.missing)

    def intervals(self) -> dict[str, Interval]:
        """Metric -> 95 % interval, of those that `metrics` has a value for."""
        means = {name: bootstrap_mean(values) for name, values in self.values.items()}
        return means | {name: interval for name, (_, interval) in self.totals.items()}


def finite_mean(values: np.ndarray) -> float:
    """The mean of what is finite; NaN where nothing is, infinite where all else is missing."""
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    if len(finite):
        return float(finite.mean())
    infinite = values[np.isinf(values)]
    return float(infinite[0]) if len(infinite) else float("nan")


def break_down(
    attribute: str,
    metric: str,
    bins: Ordered,
    series: Mapping[str, np.ndarray],
) -> Breakdown:
    """Sorts the pairs into bins.

    Args:
      attribute, metric: see `Breakdown`.
      bins: of the pairs; those without a pair are left out.
      series: name -> one number a pair.
    """
    labels = np.array(bins.labels)
    rows = {name: labels == name for name in bins.order if (labels == name).any()}

    def means(values: np.ndarray) -> list[Bin]:
        return [
            Bin(name, int(row.sum()), finite_mean(values[row]), bootstrap_mean(values[row]))
            for name, row in rows.items()
        ]

    return Breakdown(attribute, metric, {name: means(values) for name, values in series.items()})


def build_record(findings: Findings, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into metrics.json: the metrics at the top, `facts` and the findings' own after."""
    breakdowns = [
        {
            "attribute": b.attribute,
            "metric": b.metric,
            "bins": {
                name: [
                    {"name": i.name, "pairs": i.count, "mean": i.mean, "interval": i.interval}
                    for i in bins
                ]
                for name, bins in b.series.items()
            },
        }
        for b in findings.breakdowns
    ]
    record = {
        **findings.metrics(),
        **findings.facts,
        **facts,
        "intervals": findings.intervals(),
        "breakdowns": breakdowns,
    }
    return _without_nan(record)


def write_record(directory: Path, findings: Findings, record: Mapping[str, Any]) -> None:
    """Writes values.npz (the metrics pair by pair), then metrics.json."""
    beside = directory / f".{VALUES_FILE}"
    with beside.open("wb") as file:
        np.savez_compressed(file, **findings.values)
    beside.replace(directory / VALUES_FILE)
    write_text(directory / METRICS_FILE, json.dumps(record, indent=2) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Reads a metrics.json.

    Raises:
      UserError: it is none of an evaluation.
    """
    try:
        record = json.loads(path.read_text())
        if isinstance(record["protocol"], str) and isinstance(record["intervals"], dict):
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(
        f"{path} holds no metrics of an evaluation by this version: make them with "
        "`faceshifter evaluate`"
    )


def read_values(directory: Path) -> dict[str, np.ndarray]:
    """Reads values.npz beside a metrics.json; empty where there is none."""
    path = directory / VALUES_FILE
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
