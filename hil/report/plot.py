"""Small line plots as inline SVG: no script, no style but the page's, a few kB each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 120
LEFT, LEFT_NAMED, RIGHT, TOP, BOTTOM = 52, 96, 10, 8, 20
POINTS = 400
"""A line keeps the lowest and highest value of each of so many stretches."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """css: the class that gives it its colour. step: values hold until the next."""

    name: str
    css: str
    points: Points
    step: bool = False


def plot(
    title: str, unit: str, end_s: float, lines: Sequence[Line], marks: Sequence[tuple[float, str]] = (), names: Sequence[str] = ()
) -> str:
    """One panel from 0 to ``end_s``. marks: (time, word) of events. names: words for the values 0, 1, 2, ..."""
    values = [value for line in lines for _, value in line.points if math.isfinite(value)]
    low, high = (0.0, float(len(names) - 1)) if names else (min(values, default=0.0), max(values, default=1.0))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    if not names:
        low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    end_s = max(end_s, 1e-9)

    left = LEFT_NAMED if names else LEFT

    def x(time_s: float) -> float:
        return left + (WIDTH - left - RIGHT) * min(max(time_s / end_s, 0.0), 1.0)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    ticks = list(range(len(names))) if names else nice(low, high)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over time">']
    for tick in ticks:
        label = names[int(tick)] if names else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 5}" y="{y(tick) + 3:.1f}" text-anchor="end">{escape(label)}</text>')
    parts += [
        f'<text class="tick" x="{x(at_s):.1f}" y="{HEIGHT - 5}" text-anchor="{"end" if x(at_s) > WIDTH - 30 else "middle"}">{clock(at_s)}</text>'
        for at_s in nice(0.0, end_s, 6)
    ]
    for i, (time_s, word) in enumerate(marks):
        # words that stand close together are told at three heights
        side, shift = ("end", -2) if x(time_s) > WIDTH - 60 else ("start", 2)
        parts.append(
            f'<text class="word" x="{x(time_s) + shift:.1f}" y="{TOP + 7 + 9 * (i % 3)}" text-anchor="{side}">{escape(word)}</text>'
        )
        parts.append(
            f'<line class="mark" x1="{x(time_s):.1f}" x2="{x(time_s):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"><title>{escape(word)} at {time_s:.1f} s</title></line>'
        )
    for line in lines:
        drawn = [(x(time_s), y(value) if math.isfinite(value) else math.nan) for time_s, value in thin(line.points)]
        parts.append(f'<path class="line {line.css}" d="{path(drawn, line.step)}"><title>{escape(line.name)}</title></path>')
    parts.append("</svg>")
    legend = " ".join(f'<span class="key {line.css}">{escape(line.name)}</span>' for line in lines)
    return f"<figure><figcaption><b>{escape(title)}</b> {escape(unit)} {legend}</figcaption>{''.join(parts)}</figure>"


def thin(points: Points) -> Points:
    """At most 2 * POINTS points, extremes kept.

    >>> len(thin([(float(i), 0.0) for i in range(10_000)])) <= 2 * POINTS + 2
    True
    """
    if len(points) <= 2 * POINTS:
        return points
    size = len(points) / POINTS
    kept: list[tuple[float, float]] = []
    for i in range(POINTS):
        part = points[int(i * size) : max(int((i + 1) * size), int(i * size) + 1)]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return [*kept, points[-1]]


def path(points: Points, step: bool) -> str:
    """SVG path; a gap where a value is unknown."""
    out: list[str] = []
    pen = False
    before = math.nan
    for px, py in points:
        if not math.isfinite(py):
            pen = False
            continue
        if pen and step:
            out.append(f"L{px:.1f},{before:.1f}")
        out.append(f"{'L' if pen else 'M'}{px:.1f},{py:.1f}")
        pen, before = True, py
    return "".join(out)


def nice(low: float, high: float, count: int = 4) -> list[float]:
    """Round ticks within [low, high].

    >>> nice(0, 10)
    [0.0, 5.0, 10.0]
    """
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((size * factor for factor in (1, 2, 5, 10) if size * factor >= raw), size)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def clock(seconds: float) -> str:
    """
    >>> clock(90), clock(7200), clock(0.5)
    ('1:30', '2:00:00', '0.5 s')
    """
    if seconds != int(seconds):
        return f"{seconds:g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
