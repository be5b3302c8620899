"""Drawings as SVG within the page, coloured by its style sheet, so that they follow light and dark.

They are some 2 kB each; those of matplotlib have fixed colours and are ten times as large.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from trainer.html import text

WIDTH, HEIGHT = 340, 210  # units, at a phone's width about a pixel
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 30  # margins of the frame
POINTS = 300  # of a line: more are not told apart

STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr));
  gap: 20px 24px; margin-top: 14px; }
.charts h3 { margin: 0 0 4px; font-size: 14px; font-weight: 600; }
svg { display: block; width: 100%; height: auto; max-width: 400px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--muted); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .one, svg .two { fill: none; stroke: var(--one); stroke-width: 2; stroke-linejoin: round;
  stroke-linecap: round; }
svg .two { stroke: var(--two); }
svg .best { stroke: var(--muted); stroke-dasharray: 3 3; }
svg .ideal { stroke: var(--text); stroke-dasharray: 4 3; }
svg .column { fill: var(--one); } svg .gap { stroke: var(--two); stroke-width: 2; }
svg .dot { fill: var(--two); } svg .count { fill: var(--left); }
.key { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0; font-size: 12px;
  color: var(--muted); }
.key i { display: inline-block; width: 14px; height: 3px; margin-right: 5px; border-radius: 2px;
  vertical-align: middle; background: var(--one); } .key i.two { background: var(--two); }
"""


class Line(NamedTuple):
    """A value for each epoch, counted from 1; what is no number is a gap."""

    name: str
    values: Sequence[float]


class Frame(NamedTuple):
    """Where values lie: the corners of the plane."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float
    height: float = HEIGHT

    def x(self, value: float) -> float:
        """Units from the left."""
        share = (value - self.low_x) / (self.high_x - self.low_x)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Units from the top."""
        share = (value - self.low_y) / (self.high_y - self.low_y)
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)


def lines(title: str, drawn: Sequence[Line], best: int | None = None) -> str:
    """Up to two lines over the epochs.

    Args:
        best: the epoch whose weights were kept.
    """
    every = [value for line in drawn for value in line.values if math.isfinite(value)]
    count = max((len(line.values) for line in drawn), default=0)
    if not every:
        return ""
    up = ticks(min(every), max(every))
    low, high = min(up[0], *every), max(up[-1], *every)
    frame = Frame(1, max(count, 2), low, high)
    across = [tick for tick in ticks(1, max(count, 2)) if tick >= 1 and tick == int(tick)]
    body = _grid(frame, across, up, "epoch")
    if best:
        x = frame.x(best)
        body += f'<path class="best" d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>'
    for kind, line in zip(("one", "two"), drawn, strict=False):
        body += f'<path class="{kind}" d="{_path(frame, line.values)}"/>'
    return _box(title, body, [line.name for line in drawn], HEIGHT)


def reliability(
    title: str,
    edges: Sequence[float],
    counts: Sequence[int],
    claimed: Sequence[float],
    held: Sequence[float],
) -> str:
    """What confidence claims against what holds, B bins; below, how many there are of each.

    Args:
        edges: [B + 1], 0 to 1.
        counts: [B]
        claimed, held: means of the bins [B]; of empty ones they do not matter.
    """
    height, most = HEIGHT + 70, max(*counts, 1)
    frame = Frame(0, 1, 0, 1)
    body = _grid(frame, [0, 0.2, 0.4, 0.6, 0.8, 1], [0, 0.25, 0.5, 0.75, 1], "")
    for index, count in enumerate(counts):
        left, right = frame.x(edges[index]) + 0.5, frame.x(edges[index + 1]) - 0.5
        size = round(46 * count / most, 1)
        body += _column("count", left, right, height - 22 - size, height - 22)
        if count:
            y, x = frame.y(held[index]), frame.x(claimed[index])
            body += _column("column", left, right, y, frame.y(0))
            body += f'<path class="gap" d="M{x} {y}V{frame.y(claimed[index])}"/>'
            body += f'<circle class="dot" cx="{x}" cy="{frame.y(claimed[index])}" r="3"/>'
    body += f'<path class="ideal" d="M{frame.x(0)} {frame.y(0)}L{frame.x(1)} {frame.y(1)}"/>'
    body += f'<text x="{LEFT - 6}" y="{height - 62}" text-anchor="end">{most}</text>'
    body += f'<text x="{WIDTH - RIGHT}" y="{height - 6}" text-anchor="end">confidence</text>'
    body += f'<text x="{LEFT}" y="{height - 6}">how many</text>'
    return _box(title, body, ["how often it is right", "what it claims"], height)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` or below to `high` or above, about so many."""
    if low == high:
        half = abs(low) / 2 or 1.0
        low, high = low - half, high + half
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(each for each in (1, 2, 2.5, 5, 10) if each * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _grid(frame: Frame, across: Sequence[float], up: Sequence[float], name: str) -> str:
    parts = []
    for tick in up:
        y = frame.y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    bottom = frame.height - BOTTOM + 15
    for tick in across:
        if frame.low_x <= tick <= frame.high_x:
            x = frame.x(tick)
            parts.append(f'<text x="{x}" y="{bottom}" text-anchor="middle">{tick:g}</text>')
    if name:
        right = f'x="{WIDTH - RIGHT}" y="{frame.height - 3}" text-anchor="end"'
        parts.append(f"<text {right}>{text(name)}</text>")
    return "".join(parts)


def _path(frame: Frame, values: Sequence[float]) -> str:
    stride = max(1, len(values) // POINTS)
    chosen = sorted({*range(0, len(values), stride), len(values) - 1})
    path, down = "", False
    for index in chosen:
        there = math.isfinite(values[index])
        if there:
            path += f"{'L' if down else 'M'}{frame.x(index + 1)} {frame.y(values[index])}"
        down = there
    return path + ("h.1" if len(chosen) == 1 else "")  # a dot: the line's end is round


def _column(kind: str, left: float, right: float, top: float, bottom: float) -> str:
    size = f'width="{right - left:.1f}" height="{max(bottom - top, 0):.1f}"'
    return f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" {size}/>'


def _box(title: str, body: str, names: Sequence[str], height: float) -> str:
    """The drawing with its title, and what its colours mean if there are several."""
    key = "".join(
        f'<span><i class="{kind}"></i>{text(name)}</span>'
        for kind, name in zip(("one", "two"), names, strict=False)
    )
    key = f'<p class="key">{key}</p>' if len(names) > 1 else ""
    return (
        f'<figure class="chart"><h3>{text(title)}</h3>{key}'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(title)}">{body}</svg>'
        "</figure>"
    )
