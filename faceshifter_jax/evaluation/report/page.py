"""Shared parts of all evaluation pages: their style, and cells of tables."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from faceshifter_jax.evaluation.presentation import (
    format_interval,
    format_value,
    metric_of,
    pleases_the_judge,
)

_STYLE = """
:root { --ink: #1b2330; --soft: #5d6878; --line: #dfe4ea; --pale: #f5f7f9; --accent: #2463c9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--pale); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 36px 24px 60px; }
header h1 { margin: 0; font-size: 27px; line-height: 1.2; letter-spacing: -.01em; }
header p { margin: 6px 0 0; color: var(--soft); overflow-wrap: anywhere; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px;
  margin-top: 22px; }
h2 { margin: 0 0 4px; font-size: 18px; }
h3 { margin: 20px 0 4px; font-size: 15px; }
p.about { margin: 0 0 12px; color: var(--soft); font-size: 14px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px;
  margin-top: 22px; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 15px 18px; }
.tile b { display: block; font-size: 26px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13.5px; }
.warning { background: #fff6e5; border: 1px solid #f0d197; border-radius: 10px;
  padding: 12px 18px; margin-top: 22px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; font-size: 13px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td small { display: block; color: var(--soft); font-size: 12px; white-space: nowrap; }
td b { font-weight: 600; }
td small.mark { white-space: normal; max-width: 180px; margin-left: auto; }
.mark { display: inline-block; color: #8a4b00; background: #fff0d6; border-radius: 4px;
  padding: 1px 6px; margin-top: 3px; font-size: 12px; text-align: left; }
.arrow { color: var(--soft); font-size: 12px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 18px; }
.charts figure { margin: 0; }
.charts figcaption { font-size: 14px; margin-bottom: 2px; }
svg { max-width: 100%; height: auto; font: 11.5px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .faint { fill: var(--soft); }
svg .grid { stroke: var(--line); stroke-width: 1; }
.side { display: flex; flex-wrap: wrap; gap: 0 26px; }
.pictures { border-collapse: separate; border-spacing: 3px; width: auto; margin-left: -3px; }
.pictures th, .pictures td { border: 0; padding: 0; text-align: center; }
.pictures th { font-size: 12px; padding-bottom: 3px; }
.pictures img { display: block; width: var(--side); height: var(--side); border-radius: 3px;
  outline: 1px solid #0001; outline-offset: -1px; }
.pictures td.said { font-size: 12px; color: var(--soft); text-align: left; padding-bottom: 5px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 8px 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 560px) { .charts { grid-template-columns: 1fr; } }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""


def render_page(title: str, parts: Iterable[str]) -> str:
    """Puts parts of a page, HTML, into one that needs nothing else."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>"
        f"{''.join(parts)}</main></body></html>\n"
    )


def format_label(
    label: str, metrics: Sequence[str | float | None], record: Mapping[str, Any]
) -> str:
    """The first cell of a row of a `Table`: what it says, and where its metrics should go."""
    aim = metric_of(first_metric(metrics), record).aim
    return f'<td>{escape(label)} <span class="arrow">{escape(aim)}</span></td>'


def first_metric(metrics: Sequence[str | float | None]) -> str:
    """The metric that says how a row of a `Table` is shown."""
    return next(metric for metric in metrics if isinstance(metric, str))


def format_mark(metric: str, record: Mapping[str, Any]) -> str:
    """Marks a metric that exceeds the right answers' by the judge; "" for others."""
    said = pleases_the_judge(metric, record)
    return said and f'<small class="mark">{escape(said)}</small>'


def is_measured(metric: str | float | None, record: Mapping[str, Any]) -> bool:
    """Whether a cell of a table has something to say; what is known alone fills no column."""
    return isinstance(metric, str) and metric in record


def format_cell(metric: str | float | None, row: str, record: Mapping[str, Any]) -> str:
    """A cell of a `Table` whose row begins with the metric `row`."""
    if metric is None or (isinstance(metric, str) and metric not in record):
        return "<td></td>"
    if not isinstance(metric, str):
        return f"<td>{escape(metric_of(row, record).format(metric))}</td>"
    value = escape(format_value(metric, record))
    count = record.get("counts", {}).get(metric)
    said = format_interval(metric, record) + (f"<br>of {count:,} pairs" if count else "")
    return f"<td><b>{value}</b><small>{said}</small>{format_mark(metric, record)}</td>"
