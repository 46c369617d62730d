"""A protocol's findings about a checkpoint, and how they are written."""

import contextlib
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.intervals import Interval, jackknife_interval, mean_interval
from faceshifter_jax.evaluation.ledger import is_interval, is_number_or_none
from faceshifter_jax.evaluation.presentation import GUESSED, Metric, describe_metrics, find_metric
from faceshifter_jax.files import write_bytes, write_text
from faceshifter_jax.inputs import UnreadableFile, read_input, read_json

METRICS_FILE = "metrics.json"
VALUES_FILE = "values.npz"
_LARGEST_RECORD = 2**28
_LARGEST_VALUES = 2**29
MOST_PAIRS = 10**6
"""That an evaluation may have: all of them are in memory at once."""
# What readers rely on, and its type.
_READ = {
    **{"protocol": str, "protocol_version": int, "data_sha256": str, "values_sha256": str},
    **{"checkpoint": str, "checkpoint_name": str, "step": int},
    **{"intervals": dict, "jackknife": dict},
}


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
class Total:
    """A metric that is not a mean over pairs.

    Attributes:
      value: over all pairs.
      left: (G,), the same without each group of pairs, see `intervals.leave_groups_out`.
    """

    value: float
    left: np.ndarray


@dataclass(frozen=True)
class Findings:
    """The findings of a protocol.

    Attributes:
      values: metric -> one number a pair; NaN where a pair has none. Its mean is the metric.
      figures: rows of pictures for the report.
      samples: title of a column -> a picture of every pair, of which rows are drawn at random.
      facts: plain values that say what was measured: counts, hash of the data.
      totals: metric -> those that are not means over pairs.
      missing: metrics that could not be had, as an estimator was not named.
      breakdowns: metrics by attributes.
      distributions: title -> name -> one number a pair: what the report draws as histograms.
      ceilings: metric of the swaps -> the same of the right answers, where more is not better.
      declared: how the metrics are shown: `METRICS` of the protocol.
    """

    values: Mapping[str, np.ndarray]
    figures: Sequence[Figure]
    samples: Sequence[Mapping[str, np.ndarray]]
    facts: Mapping[str, Any]
    totals: Mapping[str, Total] = field(default_factory=dict)
    missing: Sequence[str] = ()
    breakdowns: Sequence[Breakdown] = ()
    distributions: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    ceilings: Mapping[str, str] = field(default_factory=dict)
    declared: Sequence[Metric] = GUESSED

    def metrics(self) -> dict[str, float | None]:
        """Metric -> value: the means over the pairs, then the totals, then what is missing."""
        means = {name: finite_mean(values) for name, values in self.values.items()}
        totals = {name: total.value for name, total in self.totals.items()}
        return means | totals | dict.fromkeys(self.missing)

    def intervals(self) -> dict[str, Interval]:
        """Metric -> 95 % interval, of those that `metrics` has a value for."""
        means = {
            name: mean_interval(values, share=find_metric(name, self.declared).is_share)
            for name, values in self.values.items()
        }
        return means | {n: jackknife_interval(t.value, t.left) for n, t in self.totals.items()}

    def above_right_answers(self) -> dict[str, str]:
        """Metric -> that of the right answers, where it lies above the interval of the latter."""
        metrics, intervals = self.metrics(), self.intervals()
        return {
            name: answer
            for name, answer in self.ceilings.items()
            if (value := metrics.get(name)) is not None and value > intervals[answer][1]
        }

    def counts(self) -> dict[str, int]:
        """Metric -> the number of pairs that its mean is over, where some have no number."""
        finite = {name: int(np.isfinite(values).sum()) for name, values in self.values.items()}
        return {name: count for name, count in finite.items() if count < len(self.values[name])}


def finite_mean(values: np.ndarray) -> float:
    """The mean of what is finite; NaN where nothing is."""
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def hash_values(values: Mapping[str, np.ndarray]) -> str:
    """Identifies the values of one evaluation, in any file."""
    digest = hashlib.sha256()
    for name in sorted(values):
        digest.update(name.encode() + b"\0" + np.asarray(values[name], np.float64).tobytes())
    return digest.hexdigest()


def break_down(
    attribute: str,
    metric: str,
    bins: Ordered,
    series: Mapping[str, np.ndarray],
    *,
    share: bool = False,
) -> Breakdown:
    """Sorts the pairs into bins.

    Args:
      attribute, metric: see `Breakdown`.
      bins: of the pairs; those without a pair are left out.
      series: name -> one number a pair.
      share: whether the numbers are shares in [0, 1].
    """
    labels = np.array(bins.labels)
    rows = {name: labels == name for name in bins.order if (labels == name).any()}

    def means(values: np.ndarray) -> list[Bin]:
        chosen = {name: values[row] for name, row in rows.items()}
        return [
            Bin(name, len(own), finite_mean(own), mean_interval(own, share=share))
            for name, own in chosen.items()
        ]

    return Breakdown(attribute, metric, {name: means(values) for name, values in series.items()})


def build_record(findings: Findings, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the content of metrics.json: metrics, then `facts`, then the findings' own facts."""
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
        "counts": findings.counts(),
        "shown_as": describe_metrics(findings.metrics(), findings.declared),
        "above_right_answers": findings.above_right_answers(),
        "jackknife": {name: total.left.tolist() for name, total in findings.totals.items()},
        "values_sha256": hash_values(findings.values),
        "breakdowns": breakdowns,
    }
    return _without_nan(record)


def write_record(directory: Path, findings: Findings, record: Mapping[str, Any]) -> None:
    """Writes values.npz (the metrics pair by pair), then metrics.json."""
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **findings.values)
    write_bytes(directory / VALUES_FILE, packed.getvalue())
    write_text(directory / METRICS_FILE, json.dumps(record, indent=2) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Reads a metrics.json.

    Raises:
      UserError: it is not that of an evaluation.
    """
    with contextlib.suppress(UnreadableFile):
        record = read_json(path, _LARGEST_RECORD)
        if _is_record(record):
            return record
    raise UserError(
        f"{path} does not hold metrics of an evaluation by this version: make them with "
        "`faceshifter evaluate`"
    )


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or not all(
        isinstance(record.get(name), kind) for name, kind in _READ.items()
    ):
        return False
    measured, jackknife = record["intervals"], record["jackknife"]
    return (
        bool(measured)
        and all(
            is_interval(ends) and is_number_or_none(record.get(name))
            for name, ends in measured.items()
        )
        and all(
            isinstance(left, list) and all(map(is_number_or_none, left))
            for left in jackknife.values()
        )
    )


def read_values(directory: Path) -> dict[str, np.ndarray]:
    """Reads values.npz next to a metrics.json; empty if there is none.

    Raises:
      UserError: it is damaged.
    """
    path = directory / VALUES_FILE
    if not path.is_file():
        return {}
    try:
        content = read_input(path, _LARGEST_VALUES)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = sum(member.file_size for member in archive.infolist())
        if sizes > _LARGEST_VALUES:
            raise ValueError(f"{sizes} bytes, which no evaluation has")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
        shapes = {(array.dtype.kind, array.shape) for array in values.values()}
        if len(shapes) != 1 or (found := shapes.pop())[0] != "f" or len(found[1]) != 1:
            raise ValueError("not one number a pair")
    # Broken archives make zipfile and numpy raise nearly anything.
    except Exception as error:
        raise UserError(f"{path} cannot be read: evaluate again, or remove it") from error
    return values


def _without_nan(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
