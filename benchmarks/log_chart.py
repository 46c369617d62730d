"""Small charts with logarithmic axes, for what grows by doubling, as one SVG file."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from faceshifter_jax.evaluation.report.charts import COLOURS

Panel = tuple[str, str, str, Mapping[str, Sequence[tuple[float, float]]]]
"""Title, what x and what y is, and name -> (x, y), all above 0."""

_WIDTH, _HEIGHT = 300, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 40, 36
_STYLE = (
    "text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd;stroke-width:1}"
)


def draw_panels(panels: Sequence[Panel], columns: int) -> str:
    """Lays charts side by side, `columns` of them a row; returns the SVG as text."""
    rows = -(-len(panels) // columns)
    width, height = _WIDTH * columns, _HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><style>{_STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for number, panel in enumerate(panels):
        across, down = number % columns * _WIDTH, number // columns * _HEIGHT
        parts.append(f'<g transform="translate({across} {down})">{_draw(*panel)}</g>')
    return "".join(parts) + "</svg>\n"


def _draw(
    title: str, x_name: str, y_name: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    points = [point for line in series.values() for point in line]
    xs = sorted({x for x, _ in points})
    low, high = (end(y for _, y in points) for end in (min, max))
    ticks = _ticks(low, high)
    x_scale = _scale(xs[0], xs[-1], _LEFT, _WIDTH - _RIGHT)
    y_scale = _scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    bottom = _HEIGHT - _BOTTOM
    parts = [f'<text class="title" x="6" y="15">{escape(title)}</text>']
    for x in xs:
        place = x_scale(x)
        parts.append(
            f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text x="{place:.1f}" y="{bottom + 15}" text-anchor="middle">{_number(x)}</text>'
        )
    for y in ticks:
        place = y_scale(y)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place:.1f}" '
            f'y2="{place:.1f}"/><text x="{_LEFT - 6}" y="{place + 4:.1f}" '
            f'text-anchor="end">{_number(y)}</text>'
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 5}" text-anchor="middle">'
        f'{escape(x_name)}</text><text x="6" y="30">{escape(y_name)}</text>'
    )
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_scale(x), y_scale(y)) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            + "".join(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places
            )
        )
        if len(series) > 1:
            parts.append(
                f'<text x="{_WIDTH - _RIGHT}" y="{15 + 14 * number}" text-anchor="end" '
                f'style="fill:{colour}">{escape(name)}</text>'
            )
    return "".join(parts)


def _scale(low: float, high: float, begin: float, end: float):
    """Maps the logarithm between two values evenly to places; the middle if they are one."""
    if low == high:
        return lambda _: (begin + end) / 2
    span = math.log(high / low)
    return lambda value: begin + math.log(value / low) / span * (end - begin)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, the least that enclose two ends; at most eight."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1, 2, 5), (1,)):
        values = [f * 10.0**power for power in range(first, last + 1) for f in factors]
        inside = [v for v in values if low / 5 < v < high * 5]
        begin = max((i for i, v in enumerate(inside) if v <= low), default=0)
        end = min((i for i, v in enumerate(inside) if v >= high), default=len(inside) - 1)
        chosen = inside[begin : end + 1]
        if len(chosen) <= 8:
            break
    return chosen


def _number(value: float) -> str:
    return f"{value:.4g}"
