"""Presentation of a protocol's metrics: names, units and aims."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
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


SHARE, DECIBEL, DEGREE = "%", "dB", "°"
UP, DOWN, TO_ONE, TO_THE_RIGHT_ANSWER = "↑", "↓", "→ 1", "→ right answer"
_UNIT = re.compile(r"[\w %°/]{0,20}")
_AIMS = (UP, DOWN, TO_ONE, TO_THE_RIGHT_ANSWER)


@dataclass(frozen=True)
class Metric:
    """The presentation of a metric, or of several similar ones.

    Attributes:
      name: its name; `*` stands for any part of one, as in `psnr_*`.
      unit: `SHARE` for a share in [0, 1], which is shown in percent; `DECIBEL`, `DEGREE` or any
        other in a word or two, such as `grey levels`; "" for none.
      digits: after the decimal point; None for three that count.
      aim: where it should go: `UP`, `DOWN`, `TO_ONE` or `TO_THE_RIGHT_ANSWER`.
    """

    name: str
    unit: str = ""
    digits: int | None = None
    aim: str = UP

    @property
    def is_share(self) -> bool:
        """Whether it is a share in [0, 1]."""
        return self.unit == SHARE

    def format(self, value: float | None) -> str:
        """A value with its unit, or in words if it is missing."""
        if value is None:
            return "not measured"
        if self.is_share:
            return f"{100 * value:.1f} %"
        if self.digits is None:
            return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"
        return f"{value:.{self.digits}f}{'' if self.unit == DEGREE else ' '}{self.unit}".rstrip()


# For records from before protocols declared their metrics.
GUESSED = (
    *(Metric(f"*{part}*", SHARE) for part in ("retrieval", "nearer_source", "retrieved")),
    Metric("*psnr*", DECIBEL, 2),
    Metric("*cosine_target*", digits=3, aim=DOWN),
    Metric("*cosine*", digits=3),
    Metric("*pose*error*", DEGREE, 2, DOWN),
    Metric("*expression*error*", aim=DOWN),
    Metric("*error*", digits=2, aim=DOWN),
    Metric("*change*", digits=2, aim=TO_THE_RIGHT_ANSWER),
    Metric("*index*", aim=TO_ONE),
    Metric("*distance*", aim=DOWN),
)


def find_metric(name: str, declared: Sequence[Metric]) -> Metric:
    """Returns how the metric `name` is shown, by the first one declared that means it."""
    for metric in declared:
        if fnmatchcase(name, metric.name):
            return replace(metric, name=name)
    return Metric(name)


def describe_metrics(names: Iterable[str], declared: Sequence[Metric]) -> dict[str, Any]:
    """Reads the presentation of metrics from a record of metrics.json."""
    found = {name: find_metric(name, declared) for name in names}
    return {
        name: {"unit": metric.unit, "digits": metric.digits, "aim": metric.aim}
        for name, metric in found.items()
    }


def metric_of(name: str, record: Mapping[str, Any]) -> Metric:
    """Returns how a metric of a record is shown: as the record says, if it says what can be."""
    said = record.get("shown_as")
    said = said.get(name) if isinstance(said, Mapping) else None
    if isinstance(said, Mapping) and said.get("aim") in _AIMS:
        unit, digits = str(said.get("unit")), said.get("digits")
        if not _UNIT.fullmatch(unit):
            return find_metric(name, GUESSED)
        if digits is None or (isinstance(digits, int) and 0 <= digits <= 9):
            return Metric(name, unit, digits, said["aim"])
    return find_metric(name, GUESSED)


def format_value(metric: str, record: Mapping[str, Any]) -> str:
    """A metric's value in a record of metrics.json, in words where it could not be had."""
    return metric_of(metric, record).format(record.get(metric))


def format_interval(metric: str, record: Mapping[str, Any]) -> str:
    """A metric's interval in a record of metrics.json, "" where it has none."""
    ends = record["intervals"].get(metric)
    if not ends or None in ends:
        return ""
    return " to ".join(metric_of(metric, record).format(end) for end in ends)


def pleases_the_judge(metric: str, record: Mapping[str, Any]) -> str:
    """Describes a metric that lies above the judge's figure for the right answers; else "".

    Records of earlier versions say nothing of it.
    """
    above = record.get("above_right_answers")
    answer = above.get(metric) if isinstance(above, Mapping) else None
    if not isinstance(answer, str):
        return ""
    right = f"{format_value(answer, record)} ({format_interval(answer, record)})"
    return f"pleases the judge: above the right answers' {right}"
