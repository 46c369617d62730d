"""The report of an evaluation as one HTML file that needs nothing else."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceshifter_jax.evaluation.findings import Figure, Findings
from faceshifter_jax.evaluation.ledger import comparable
from faceshifter_jax.evaluation.presentation import Headline, Table, format_interval, format_value
from faceshifter_jax.evaluation.report.charts import Point, draw_curves, draw_histogram, draw_means
from faceshifter_jax.evaluation.report.page import (
    first_metric,
    format_cell,
    format_label,
    format_mark,
    is_measured,
    render_page,
)
from faceshifter_jax.files import write_text

_RANDOM_ROWS = 8
_BLOCKS = {2: 4, 3: 2, 4: 2, 5: 2}
_LARGEST_SIDE, _PAGE_WIDTH, _BLOCK_GAP, _PICTURE_GAP = 112, 962, 26, 4
_PICTURE_PIXELS = 128
_JPEG_QUALITY = 92
_FACTS = (
    ("checkpoint", "checkpoint"),
    ("step", "step"),
    ("checkpoint_sha256", "weights of AEI-Net"),
    ("hear_sha256", "weights of HEAR-Net"),
    ("identity_sha256", "identity network of the training"),
    ("judge", "judge"),
    ("judge_sha256", "weights of the judge"),
    ("data", "data"),
    ("data_sha256", "pictures and pairs"),
    ("features", "features of the distances between sets"),
    ("features_sha256", "file of these features"),
    ("pose_estimator", "estimator of poses"),
    ("pose_sha256", "file of this estimator"),
    ("expression_estimator", "estimator of expressions"),
    ("expression_sha256", "file of this estimator"),
    ("version", "faceshifter_jax"),
    ("command", "command"),
)


def write_html(
    path: Path,
    findings: Findings,
    record: Mapping[str, Any],
    *,
    headlines: Sequence[Headline],
    tables: Sequence[Table],
    history: Sequence[Mapping[str, Any]],
    training: Mapping[str, Sequence[Point]],
) -> None:
    """Writes the report.

    Args:
      path: the file; it appears under its name when it is complete.
      findings: what was found out.
      record: what is in metrics.json.
      headlines, tables: which metrics are shown where.
      history: the ledger's entries, this evaluation's among them.
      training: loss -> its values over the steps of the training run; empty without one.
    """
    parts = [
        _head(record),
        "".join(f'<div class="warning">{escape(text)}</div>' for text in record["warnings"]),
        _tiles(headlines, record),
        _tables(tables[:1], record),
        _random_pictures(findings),
        _tables(tables[1:], record),
        _breakdowns(findings),
        _distributions(findings),
        _curves(headlines, record, history, training),
        "".join(_pictures(figure) for figure in findings.figures),
        _provenance(record),
    ]
    write_text(path, render_page(_title(record), parts))


def _title(record: Mapping[str, Any]) -> str:
    step = f", step {record['step']:,}" if record["step"] else ""
    return f"Face swaps of {Path(record['checkpoint_name']).name}{step}"


def _head(record: Mapping[str, Any]) -> str:
    count = f"{record['pairs']:,} pairs"
    people = f" of {record['identities']:,} people" if "identities" in record else ""
    return (
        f"<header><h1>{escape(_title(record))}</h1>"
        f"<p>Protocol <b>{escape(record['protocol'])}</b> version {record['protocol_version']}: "
        f"{count}{people}, {record['image_size']} pixels. Figures are means over the pairs with "
        f"95 % intervals. {escape(record['time'])}.</p></header>"
    )


def _tiles(headlines: Sequence[Headline], record: Mapping[str, Any]) -> str:
    tiles = [
        f'<div class="tile"><b>{escape(format_value(h.metric, record))}</b>'
        f"<span>{escape(h.label)}<br>{escape(format_interval(h.metric, record))}</span>"
        f"{format_mark(h.metric, record)}</div>"
        for h in headlines
        if h.metric in record
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tables(tables: Sequence[Table], record: Mapping[str, Any]) -> str:
    return "".join(_table(table, record) for table in tables)


def _table(table: Table, record: Mapping[str, Any]) -> str:
    used = [
        column
        for column in range(len(table.columns))
        if any(is_measured(metrics[column], record) for _, metrics in table.rows)
    ]
    head = "".join(f"<th>{escape(table.columns[column])}</th>" for column in used)
    rows = []
    for label, metrics in table.rows:
        named = first_metric(metrics)
        cells = "".join(format_cell(metrics[column], named, record) for column in used)
        rows.append(f"<tr>{format_label(label, metrics, record)}{cells}</tr>")
    return (
        f'<section><h2>{escape(table.title)}</h2><p class="about">{escape(table.caption)}</p>'
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _breakdowns(findings: Findings) -> str:
    charts = [
        _chart(f"{b.attribute}: {b.metric}", draw_means(b.series)) for b in findings.breakdowns
    ]
    return _section(
        "Where it fails",
        "Means by attribute with 95 % intervals; in brackets the number of pairs.",
        charts,
    )


def _distributions(findings: Findings) -> str:
    charts = [_chart(t, draw_histogram(series)) for t, series in findings.distributions.items()]
    about = "Share of the pairs; the dashed lines are medians."
    return _section("Distributions", about, charts)


def _curves(
    headlines: Sequence[Headline],
    record: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    training: Mapping[str, Sequence[Point]],
) -> str:
    # The last evaluation of a step counts.
    by_step = {
        entry["step"]: entry
        for entry in history
        if comparable(entry, record) and _training_of(entry) == _training_of(record)
    }
    entries = [by_step[step] for step in sorted(by_step)]
    evaluated = [
        _chart(headline.label, draw_curves({headline.label: _points(headline.metric, entries)}))
        for headline in headlines
    ]
    losses = [
        _chart(f"training: {n.replace('_', ' ')}", draw_curves({n: line}))
        for n, line in training.items()
    ]
    about = "Evaluations of this training that were made the same way, and its losses."
    return _section("Over the steps", about, [*evaluated, *losses])


def _training_of(entry: Mapping[str, Any]) -> Path:
    return Path(entry.get("checkpoint", "")).parent


def _points(metric: str, entries: Sequence[Mapping[str, Any]]) -> list[Point]:
    points = []
    for entry in entries:
        value = entry.get("metrics", {}).get(metric)
        if value is not None:
            low, high = (
                value if end is None else end
                for end in entry.get("intervals", {}).get(metric) or (value, value)
            )
            points.append((entry["step"], value, low, high))
    return points


def _section(title: str, about: str, charts: Sequence[str]) -> str:
    if not any(charts):
        return ""
    return (
        f'<section><h2>{escape(title)}</h2><p class="about">{escape(about)}</p>'
        f'<div class="charts">{"".join(charts)}</div></section>'
    )


def _chart(title: str, svg: str) -> str:
    return svg and f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _random_pictures(findings: Findings) -> str:
    columns = findings.samples[0]
    number = len(next(iter(columns.values())))
    rows = np.random.default_rng(0).choice(number, min(_RANDOM_ROWS, number), replace=False)
    chosen = {name: pictures[np.sort(rows)] for name, pictures in columns.items()}
    return _pictures(Figure("Swaps drawn at random", "The same pairs in every report.", chosen))


def _pictures(figure: Figure) -> str:
    count = len(next(iter(figure.columns.values())))
    if not count:
        return ""
    # Few columns leave room for more blocks of rows next to the first.
    length = -(-count // _BLOCKS.get(len(figure.columns), 1))
    starts = range(0, count, length)
    blocks = [range(first, min(first + length, count)) for first in starts]
    shown = "".join(_picture_rows(figure, rows) for rows in blocks)
    return (
        f'<section><h2>{escape(figure.title)}</h2><p class="about">{escape(figure.caption)}</p>'
        f'<div class="wide side">{shown}</div></section>'
    )


def _picture_rows(figure: Figure, rows: Sequence[int]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in figure.columns)
    lines = []
    for row in rows:
        cells = "".join(
            f'<td><img alt="{escape(name)}" src="{_inline(pictures[row])}"></td>'
            for name, pictures in figure.columns.items()
        )
        lines.append(f"<tr>{cells}</tr>")
        if figure.rows:
            said = escape(figure.rows[row])
            lines.append(f'<tr><td class="said" colspan="{len(figure.columns)}">{said}</td></tr>')
    return (
        f'<table class="pictures" style="--side: {_side(figure)}px"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _side(figure: Figure) -> int:
    """Pixels a side of the pictures, so that all columns fit the page."""
    columns = len(figure.columns)
    blocks = _BLOCKS.get(columns, 1)
    width = (_PAGE_WIDTH - _BLOCK_GAP * (blocks - 1)) // (blocks * columns)
    return min(_LARGEST_SIDE, width - _PICTURE_GAP)


def _inline(picture: np.ndarray) -> str:
    """A picture (S, S, 3) as a data URL; small ones enlarged, as browsers do it badly."""
    image = Image.fromarray(picture)
    if image.width < _PICTURE_PIXELS:
        image = image.resize((_PICTURE_PIXELS, _PICTURE_PIXELS), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _provenance(record: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{escape(label)}</dt><dd><code>{escape(str(record[name]))}</code></dd>"
        for name, label in _FACTS
        if record.get(name) not in (None, "")
    )
    return f"<section><h2>How it was measured</h2><dl>{rows}</dl></section>"
