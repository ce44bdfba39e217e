"""Charts as inline SVG: lines, bars and histograms, readable without scripts, in light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

WIDTH, HEIGHT = 640, 260  # px of the drawing area that the browser scales
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44
COLOURS = ("#2f6fde", "#e0662b", "#2c9c69", "#a855b5", "#c9a227", "#d6455d", "#4aa3b8", "#7a7a7a")


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one set of bars; `x` and `y` have equal length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with axes; labels name quantity and unit."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    kind: Literal["line", "bar", "scatter"] = "line"
    categories: Sequence[str] = field(default_factory=tuple)  # names of x = 0, 1, ... on bar charts


def svg(chart: Chart) -> str:
    """The chart as one `<svg>` element."""
    xs = [v for s in chart.series for v in s.x if math.isfinite(v)]
    ys = [v for s in chart.series for v in s.y if math.isfinite(v)]
    if not xs or not ys:
        return f'<p class="note">{escape(chart.title)}: no data.</p>'
    x0, x1 = (min(xs) - 0.5, max(xs) + 0.5) if chart.kind == "bar" else (min(xs), max(xs))
    y0, y1 = min(ys), max(ys)
    if chart.kind == "bar":
        y0 = min(0.0, y0)
    x_ticks, y_ticks = ticks(x0, x1, 6), ticks(y0, y1, 5)
    y0, y1 = min(y0, y_ticks[0]), max(y1, y_ticks[-1])
    if x1 <= x0:
        x1 = x0 + 1.0

    def px(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">']
    for y in y_ticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{py(y) + 3.5:.1f}" text-anchor="end">{number(y)}</text>'
        )
    names = list(chart.categories)
    for x in range(len(names)) if names else x_ticks:
        label = escape(names[int(x)]) if names else number(x)
        anchor = "end" if px(x) > WIDTH - RIGHT - 6 and not names else "middle"  # the last one stays inside
        parts.append(
            f'<text class="tick" x="{px(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{label}</text>'
        )
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(chart.x_label)}</text>"
        f'<text class="axis" transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(chart.y_label)}</text>'
    )
    for k, series in enumerate(chart.series):
        parts.append(_marks(chart, series, k, px, py))
    parts.append("</svg>")
    legend = "".join(
        f'<span><i style="background:{COLOURS[k % len(COLOURS)]}"></i>{escape(s.name)}</span>'
        for k, s in enumerate(chart.series)
        if s.name
    )
    title = f"<figcaption>{escape(chart.title)}</figcaption>"
    return f'<figure>{title}{"".join(parts)}<div class="legend">{legend}</div></figure>'


def _marks(
    chart: Chart, series: Series, k: int, px: Callable[[float], float], py: Callable[[float], float]
) -> str:
    colour = COLOURS[k % len(COLOURS)]
    points = [
        (float(x), float(y))
        for x, y in zip(series.x, series.y, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    if chart.kind == "bar":
        count = len(chart.series)
        share = 0.8 / count
        bars = []
        for x, y in points:
            left, right = px(x - 0.4 + k * share), px(x - 0.4 + (k + 1) * share)
            top, base = min(py(y), py(0.0)), max(py(y), py(0.0))
            bars.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 1):.1f}" '
                f'height="{max(0.5, base - top):.1f}" fill="{colour}"><title>{escape(series.name)} '
                f"{number(y)}</title></rect>"
            )
        return "".join(bars)
    if chart.kind == "scatter":
        return "".join(
            f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3" fill="{colour}" fill-opacity="0.8"/>'
            for x, y in points
        )
    path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if series.dashed else ""
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6"{dash} points="{path}"/>'


def histogram(values: Sequence[float], bins: int = 30, low: float | None = None) -> Series:
    """Counts of `values` in equal bins, as a series of bin centres."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return Series("", [], [])
    lo = min(finite) if low is None else low
    hi = max(finite)
    width = (hi - lo) / bins or 1.0
    counts = [0] * bins
    for v in finite:
        counts[min(bins - 1, max(0, int((v - lo) / width)))] += 1
    return Series("", [lo + (k + 0.5) * width for k in range(bins)], counts)


def ticks(lo: float, hi: float, about: int) -> list[float]:
    """About that many round numbers covering lo..hi."""
    if not hi > lo:
        return [lo, lo + 1.0]
    raw = (hi - lo) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    first = math.floor(lo / step) * step
    return [first + k * step for k in range(int(math.ceil((hi - first) / step)) + 1)]


def number(value: float) -> str:
    """A short decimal."""
    text = f"{value:.4g}"
    return "0" if text in ("-0", "0") else text
