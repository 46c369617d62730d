"""How the metrics of a protocol are shown: which ones, under which names, in which units."""

from dataclasses import dataclass


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
      rows: what a row says, and the metric in each column, None for none.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str | None, ...]], ...]


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
    if "error" in metric and "expression" not in metric:
        return f"{value:.2f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def smaller_is_better(metric: str) -> bool:
    """Whether a metric is a distance or an error."""
    return any(part in metric for part in ("error", "distance", "cosine_target"))
