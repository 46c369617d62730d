"""Several evaluations on one page: descriptions, one table of figures, pictures of each."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from faceshifter_jax.evaluation.presentation import Table, format_value, metric_of
from faceshifter_jax.evaluation.report.page import (
    first_metric,
    format_cell,
    format_label,
    render_page,
)

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Evaluation:
    """An evaluation to show.

    Attributes:
      name: what to call it.
      record: its metrics.json.
      picture: its report.png, None where there is none.
    """

    name: str
    record: Mapping[str, Any]
    picture: Path | None


def draw_side_by_side(evaluations: Sequence[Evaluation], table: Table) -> str:
    """Returns the page, HTML that needs nothing else.

    Args:
      evaluations: of one protocol.
      table: the metrics to show; of its columns, the first one is of the swaps.
    """
    names = " and ".join(evaluation.name for evaluation in evaluations)
    protocol = evaluations[0].record["protocol"]
    parts = [
        f"<header><h1>{escape(names)}, side by side</h1><p>Protocol <b>{escape(protocol)}</b>, "
        f"version {evaluations[0].record['protocol_version']:d}. With 95 % intervals.</p></header>",
        _what_each_is(evaluations),
        _figures(evaluations, table),
        *(_pictures(one.name, one.picture) for one in evaluations if one.picture),
    ]
    return render_page(f"{names}, side by side", parts)


def _what_each_is(evaluations: Sequence[Evaluation]) -> str:
    items = "".join(
        f"<dt><b>{escape(one.name)}</b></dt><dd>{escape(_describe(one.record))}</dd>"
        for one in evaluations
    )
    return f"<section><h2>What each is</h2><dl>{items}</dl></section>"


def _describe(record: Mapping[str, Any]) -> str:
    checkpoint = str(record["checkpoint"])
    shipped = checkpoint.startswith("shipped:")
    origin = "which come with the package" if shipped else f"of {checkpoint}"
    step = f", trained for {record['step']:,} steps" if record["step"] else ""
    pictures = f"{record.get('pairs', '?')} swaps of {record.get('image_size', '?')} pixels"
    judge = f"judged by {record['judge']}" if record.get("judge") else ""
    facts = (f"{record.get('stages', 'networks')} {origin}{step}", pictures, judge)
    told = record.get("warnings")
    warnings = (f"warning: {text}" for text in (told if isinstance(told, list) else ()))
    return "; ".join(fact for fact in (*facts, *warnings) if fact)


def _figures(evaluations: Sequence[Evaluation], table: Table) -> str:
    head = "".join(f"<th>{escape(one.name)}</th>" for one in evaluations)
    rows = []
    for label, metrics in table.rows:
        cells = "".join(_cell(table.columns, metrics, one.record) for one in evaluations)
        rows.append(f"<tr>{format_label(label, metrics, evaluations[0].record)}{cells}</tr>")
    return (
        f'<section><h2>{escape(table.title)}</h2><p class="about">{escape(table.caption)}</p>'
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _cell(
    columns: Sequence[str], metrics: Sequence[str | float | None], record: Mapping[str, Any]
) -> str:
    """The swaps' figure, and below it what the other columns say."""
    named = first_metric(metrics)
    others = [
        f"<small>{escape(title)}: {escape(value)}</small>"
        for title, metric in zip(columns[1:], metrics[1:], strict=True)
        if (value := _value(metric, named, record))
    ]
    return format_cell(metrics[0], named, record).removesuffix("</td>") + "".join(others) + "</td>"


def _value(metric: str | float | None, named: str, record: Mapping[str, Any]) -> str:
    if metric is None or (isinstance(metric, str) and metric not in record):
        return ""
    if isinstance(metric, str):
        return format_value(metric, record)
    return metric_of(named, record).format(metric)


def _pictures(name: str, path: Path) -> str:
    buffer = io.BytesIO()
    with Image.open(path, formats=("PNG",)) as picture:
        width = picture.width
        picture.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f"<section><h2>{escape(name)}: swaps drawn at random</h2>"
        f'<div class="wide"><img alt="rows of pictures" width="{width}" '
        f'src="data:image/jpeg;base64,{data}"></div></section>'
    )
