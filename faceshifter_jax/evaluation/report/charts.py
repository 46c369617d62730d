"""Charts as SVG text: histograms, curves, and means with their intervals."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from faceshifter_jax.evaluation.findings import Bin

COLOURS = ("#2463c9", "#d9772b", "#2f9468", "#8a5bc7", "#c24b6a")
_WIDTH, _HEIGHT = 460, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 30, 34
_BINS = 24
_ROW, _LABELS = 22, 150
_TICKS = 5
_ABOVE = 8

Point = tuple[float, float, float, float]
"""x, y, and the lower and upper end of y's interval (y itself where there is none)."""


def draw_histogram(series: Mapping[str, np.ndarray]) -> str:
    """Draws how often values occur, as shares of each series; "" without a finite value.

    Args:
      series: name -> numbers; what is not finite is left out.
    """
    finite = {name: values[np.isfinite(values)] for name, values in series.items()}
    finite = {name: values for name, values in finite.items() if len(values)}
    if not finite:
        return ""
    everything = np.concatenate(list(finite.values()))
    low, high = _widen(float(everything.min()), float(everything.max()))
    edges = np.linspace(low, high, _BINS + 1)
    shares = {name: np.histogram(v, edges)[0] / len(v) for name, v in finite.items()}
    top = max(float(share.max()) for share in shares.values())
    plot = _Plot(low, high, 0.0, 1.08 * top)
    parts = [plot.axes(percent=True), _legend(list(finite))]
    for number, share in enumerate(shares.values()):
        corners = [(edges[0], 0.0)]
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            corners += [(left, value), (right, value)]
        corners.append((edges[-1], 0.0))
        colour = COLOURS[number % len(COLOURS)]
        points = plot.points(corners)
        parts.append(
            f'<polygon points="{points}" fill="{colour}" fill-opacity=".28" stroke="{colour}" '
            'stroke-width="1.4"/>'
        )
    for number, values in enumerate(finite.values()):
        x = plot.x(float(np.median(values)))
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" '
            f'stroke="{colour}" stroke-width="1.4" stroke-dasharray="4 3"/>'
        )
    return _svg(_WIDTH, _HEIGHT, parts)


def draw_curves(series: Mapping[str, Sequence[Point]]) -> str:
    """Draws values over steps with their intervals as bands; "" with fewer than two steps.

    Args:
      series: name -> points, sorted by x.
    """
    points = [point for line in series.values() for point in line]
    if len({point[0] for point in points}) < 2:
        return ""
    low, high = _widen(min(p[2] for p in points), max(p[3] for p in points))
    plot = _Plot(min(p[0] for p in points), max(p[0] for p in points), low, high)
    parts = [plot.axes(), _legend(list(series))]
    for number, line in enumerate(series.values()):
        colour = COLOURS[number % len(COLOURS)]
        band = [(x, upper) for x, _, _, upper in line]
        band += [(x, lower) for x, _, lower, _ in reversed(line)]
        parts.append(f'<polygon points="{plot.points(band)}" fill="{colour}" fill-opacity=".16"/>')
        parts.append(
            f'<polyline points="{plot.points([p[:2] for p in line])}" fill="none" '
            f'stroke="{colour}" stroke-width="2"/>'
        )
        # A long history would be a row of dots.
        if len(line) <= _BINS:
            parts += [
                f'<circle cx="{plot.x(x):.1f}" cy="{plot.y(y):.1f}" r="3" fill="{colour}"/>'
                for x, y, _, _ in line
            ]
    return _svg(_WIDTH, _HEIGHT, parts)


def draw_means(series: Mapping[str, Sequence[Bin]]) -> str:
    """Draws the mean of each bin as a dot with its interval, bin below bin; "" without any.

    Args:
      series: name -> its bins, the same for each.
    """
    known = [b for bins in series.values() for b in bins if math.isfinite(b.mean)]
    if not known:
        return ""
    ends = [e for b in known for e in (*b.interval, b.mean) if math.isfinite(e)]
    low, high = _widen(min(ends), max(ends))
    names = [b.name for b in next(iter(series.values()))]
    counts = [b.count for b in next(iter(series.values()))]
    row = _ROW * max(1, 0.55 * len(series) + 0.45)
    height = round(_TOP + row * len(names) + _BOTTOM)
    plot = _Plot(low, high, 0, 1, height=height, left=_LABELS)
    parts = [plot.axes(rows=False), _legend(list(series))]
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        y = _TOP + row * (place + 0.5)
        parts.append(
            f'<text x="{_LABELS - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(name)} '
            f'<tspan class="faint">({count})</tspan></text>'
        )
    for number, bins in enumerate(series.values()):
        colour = COLOURS[number % len(COLOURS)]
        shift = 11 * (number - (len(series) - 1) / 2)
        for place, found in enumerate(bins):
            if math.isfinite(found.mean):
                y = _TOP + row * (place + 0.5) + shift
                parts.append(_whisker(plot, found, y, colour))
    return _svg(_WIDTH, height, parts)


def _whisker(plot: "_Plot", found: Bin, y: float, colour: str) -> str:
    low, high = (
        plot.x(end) if math.isfinite(end) else plot.x(found.mean) for end in found.interval
    )
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
        f'stroke-width="2" stroke-opacity=".55"/>'
        f'<circle cx="{plot.x(found.mean):.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    )


class _Plot:
    """Maps values to pixels of a chart."""

    def __init__(
        self,
        x_low: float,
        x_high: float,
        y_low: float,
        y_high: float,
        *,
        height: int = _HEIGHT,
        left: int = _LEFT,
    ):
        self._ends = x_low, x_high, y_low, y_high
        self._height, self._left = height, left

    def x(self, value: float) -> float:
        low, high, _, _ = self._ends
        return self._left + (value - low) / (high - low) * (_WIDTH - self._left - _RIGHT)

    def y(self, value: float) -> float:
        _, _, low, high = self._ends
        share = (value - low) / (high - low)
        return self._height - _BOTTOM - share * (self._height - _BOTTOM - _TOP)

    def points(self, values: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in values)

    def axes(self, *, percent: bool = False, rows: bool = True) -> str:
        x_low, x_high, y_low, y_high = self._ends
        bottom = self._height - _BOTTOM
        parts = []
        for value in _ticks(x_low, x_high):
            x = self.x(value)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
                f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{_number(value)}</text>'
            )
        for value in _ticks(y_low, y_high) if rows else ():
            y = self.y(value)
            text = f"{100 * value:.0f} %" if percent else _number(value)
            parts.append(
                f'<line class="grid" x1="{self._left}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text x="{self._left - 7}" y="{y + 4:.1f}" '
                f'text-anchor="end">{text}</text>'
            )
        return "".join(parts)


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    parts, left = [], 6.0
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<rect x="{left:.0f}" y="7" width="11" height="11" rx="2" fill="{colour}"/>'
            f'<text x="{left + 16:.0f}" y="17">{escape(name)}</text>'
        )
        left += 34 + 6.2 * len(name)
    return "".join(parts)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    # Without a legend its place is cut off.
    top = 0 if any("<rect" in part for part in parts) else _TOP - _ABOVE
    return (
        f'<svg viewBox="0 {top} {width} {height - top}" width="{width}" height="{height - top}" '
        f'role="img">{"".join(parts)}</svg>'
    )


def _widen(low: float, high: float) -> tuple[float, float]:
    margin = 0.04 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two ends, about five of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if abs(value) >= 10000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"
