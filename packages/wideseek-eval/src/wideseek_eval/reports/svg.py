"""Small charts as inline SVG; their colors come from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 262
CHARACTER_WIDTH = 6.5
"""Of the names, on average."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 16, 58


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bar, or one point of a curve: a value in [0, 1] with its interval."""

    name: str
    notes: tuple[str, ...] = ()
    """Small print below the name, at most two lines: how many."""
    mean: float
    low: float
    high: float


def bar_chart(title: str, points: Sequence[Point]) -> str:
    """Upright bars with whiskers."""
    top = _ceiling(points)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(points), 1)
    wide = min(step * 0.6, 56)
    parts = [_grid(top)]
    for index, point in enumerate(points):
        x = _LEFT + step * (index + 0.5)
        y = _y(point.mean, top)
        parts.append(
            f'<rect class="bar" x="{x - wide / 2:.1f}" y="{y:.1f}" width="{wide:.1f}" '
            f'height="{max(_y(0, top) - y, 0):.1f}" rx="3">{_tip(point)}</rect>'
        )
        parts.append(_whisker(x, point, top))
        parts.append(_label(x, point, step))
        parts.append(f'<text class="value" x="{x + 5:.1f}" y="{y - 5:.1f}">{point.mean:.2f}</text>')
    return _svg(title, parts)


def curve(title: str, points: Sequence[Point]) -> str:
    """A line through points, with its 95% band."""
    top = _ceiling(points)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(points), 1)
    places = [_LEFT + step * (index + 0.5) for index in range(len(points))]
    pairs = list(zip(places, points, strict=True))
    upper = [f"{x:.1f},{_y(point.high, top):.1f}" for x, point in pairs]
    lower = [f"{x:.1f},{_y(point.low, top):.1f}" for x, point in reversed(pairs)]
    middle = [f"{x:.1f},{_y(point.mean, top):.1f}" for x, point in pairs]
    parts = [
        _grid(top),
        f'<polygon class="band" points="{" ".join(upper + lower)}"/>',
        f'<polyline class="line" points="{" ".join(middle)}"/>',
    ]
    for x, point in pairs:
        y = _y(point.mean, top)
        parts.append(_whisker(x, point, top))
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">{_tip(point)}</circle>')
        parts.append(_label(x, point, step))
        parts.append(f'<text class="value" x="{x + 7:.1f}" y="{y - 7:.1f}">{point.mean:.2f}</text>')
    return _svg(title, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a whole."""

    name: str
    count: int
    note: str = ""
    """Behind count and percentage."""
    kind: str
    """The CSS class that colors it."""


def share_chart(title: str, shares: Sequence[Share]) -> str:
    """Lying bars with counts."""
    total = max(sum(share.count for share in shares), 1)
    most = max((share.count for share in shares), default=1)
    left, row = 128, 26
    height = _TOP + row * len(shares) + 10
    parts: list[str] = []
    for index, share in enumerate(shares):
        y = _TOP + row * index
        wide = (WIDTH - left - 112) * share.count / most
        parts.append(
            f'<text class="name" x="{left - 8}" y="{y + 13}" text-anchor="end">'
            f"{escape(share.name)}</text>"
            f'<rect class="{share.kind}" x="{left}" y="{y}" width="{wide:.1f}" height="18" rx="3"/>'
            f'<text class="note" x="{left + wide + 6:.1f}" y="{y + 13}">'
            f"{share.count} · {share.count / total:.0%}{escape(share.note)}</text>"
        )
    return _svg(title, parts, height)


def _ceiling(points: Sequence[Point]) -> float:
    """The top of the scale: a round number above every interval, so that low scores show."""
    highest = min(max((point.high for point in points), default=1.0), 1.0)
    step = _step(highest)
    return max(round(math.ceil(highest / step - 1e-9) * step, 6), step)


def _step(highest: float) -> float:
    """The smallest round distance of grid lines that needs at most five of them."""
    return next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if highest <= 5 * step), 0.2)


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max(value / top, 0.0), 1.0)


def _grid(top: float) -> str:
    lines: list[str] = []
    step = _step(top)
    for index in range(round(top / step) + 1):
        value = step * index
        y = _y(value, top)
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="note" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:.2g}</text>"
        )
    return "".join(lines)


def _whisker(x: float, point: Point, top: float) -> str:
    low, high = _y(point.low, top), _y(point.high, top)
    caps = "".join(
        f'<line class="whisker" x1="{x - 5:.1f}" x2="{x + 5:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        for y in (low, high)
    )
    stem = f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    return stem + caps


def _label(x: float, point: Point, space: float) -> str:
    """The name, as much of it as fits below its bar, and the small print."""
    most = max(int(space / CHARACTER_WIDTH), 2)
    name = point.name if len(point.name) <= most else f"{point.name[: most - 1]}…"
    lines = [("name", name), *(("note", note) for note in point.notes)]
    return "".join(
        f'<text class="{kind}" x="{x:.1f}" y="{HEIGHT - 40 + 15 * at}" text-anchor="middle">'
        f"{escape(text)}</text>"
        for at, (kind, text) in enumerate(lines)
    )


def _tip(point: Point) -> str:
    interval = f"{point.mean:.3f} [{point.low:.3f}, {point.high:.3f}]"
    return f"<title>{escape(', '.join([f'{point.name}: {interval}', *point.notes]))}</title>"


def _svg(title: str, parts: Sequence[str], height: float = HEIGHT) -> str:
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{inside}</svg>"
    )
