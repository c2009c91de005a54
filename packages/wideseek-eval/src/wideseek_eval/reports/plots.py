"""Pictures of runs as SVG files of their own: lines over steps, or over the width of teams.

Colors and strokes are attributes, not variables of a page, so that every program draws them alike.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

COLORS = ("#1f6f8b", "#b8442c", "#4a7a3f", "#7d4fa3", "#8a6100", "#444444")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 4", "1 2")
"""Lines differ in more than their color."""

PANEL_WIDTH, PANEL_HEIGHT = 330, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 30, 40
_LEGEND_ROW = 18
MAX_PANELS_IN_ROW = 3
_STYLE = (
    "text{font-family:'DejaVu Sans','Noto Sans',sans-serif;font-size:11px;fill:#333}"
    ".title{font-size:12.5px;font-weight:600}.grid{stroke:#dddddd}.axis{stroke:#777777}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point with its interval, if it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a panel. Lines of one label have one color."""

    label: str
    marks: tuple[Mark, ...]
    faint: bool = False
    """Drawn thin and light, and not in the legend."""
    dots: bool = False
    """Points are drawn, with their intervals."""
    joined: bool = True
    """Points are joined by a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    x_title: str
    lines: tuple[Line, ...]


def draw(title: str, panels: Sequence[Panel], *, note: str = "") -> str:
    """The picture. `title` is what it is called for those who can't see it, `note` stands below."""
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    columns = min(len(panels), MAX_PANELS_IN_ROW)
    rows = math.ceil(len(panels) / columns)
    legend = _LEGEND_ROW + 6 if len(labels) > 1 else 0
    width, height = columns * PANEL_WIDTH, rows * PANEL_HEIGHT + legend + (22 if note else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    if legend:
        parts += _legend(labels, width)
    for number, panel in enumerate(panels):
        x = number % columns * PANEL_WIDTH
        y = legend + number // columns * PANEL_HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{"".join(_panel(panel, labels))}</g>')
    if note:
        parts.append(f'<text x="12" y="{height - 8}">{escape(note)}</text>')
    return "".join([*parts, "</svg>\n"])


def _legend(labels: Sequence[str], width: float) -> Iterator[str]:
    space = width / len(labels)
    most = max(int((space - 48) / 6.5), 3)
    for number, label in enumerate(labels):
        x = 12 + number * space
        shown = label if len(label) <= most else f"{label[: most - 1]}…"
        yield (
            f'<line x1="{x:.1f}" x2="{x + 24:.1f}" y1="14" y2="14" {_stroke(number, 2)}/>'
            f'<text x="{x + 30:.1f}" y="18">{escape(shown)}</text>'
        )


def _panel(panel: Panel, labels: Sequence[str]) -> Iterator[str]:
    marks = [mark for line in panel.lines for mark in line.marks]
    scale = _Scale.around(marks)
    yield f'<text class="title" x="{_LEFT}" y="16">{escape(panel.title)}</text>'
    bottom, right = PANEL_HEIGHT - _BOTTOM, PANEL_WIDTH - _RIGHT
    for value in scale.y_ticks:
        y = scale.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    for value in scale.x_ticks:
        yield _centered(f"{value:g}", scale.x(value), bottom + 16)
    yield f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield _centered(panel.x_title, (_LEFT + right) / 2, bottom + 32)
    if not marks:
        yield _centered("no values", (_LEFT + right) / 2, bottom / 2)
    for line in panel.lines:
        yield from _line(line, labels.index(line.label), scale)


def _line(line: Line, number: int, scale: "_Scale") -> Iterator[str]:
    places = " ".join(f"{scale.x(mark.x):.1f},{scale.y(mark.y):.1f}" for mark in line.marks)
    width, opacity = (0.8, 0.35) if line.faint else (2, 1)
    if line.joined and len(line.marks) > 1:
        yield (
            f'<polyline fill="none" points="{places}" opacity="{opacity}" '
            f"{_stroke(number, width)}/>"
        )
    if line.dots or len(line.marks) == 1:
        yield from (_dot(line, mark, number, scale) for mark in line.marks)


def _dot(line: Line, mark: Mark, number: int, scale: "_Scale") -> str:
    """A point with its interval."""
    x, y = scale.x(mark.x), scale.y(mark.y)
    whisker = ""
    if mark.low is not None and mark.high is not None:
        ends = f'y1="{scale.y(mark.low):.1f}" y2="{scale.y(mark.high):.1f}"'
        stroke = _stroke(number, 1.2, dash=False)
        whisker = f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} {stroke}/>'
    tip = f"<title>{escape(line.label)}: {mark.y:.3f}</title>"
    stroke = _stroke(number, 2, dash=False)
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#ffffff" {stroke}>{tip}</circle>'
    return whisker + circle


def _centered(text: str, x: float, y: float) -> str:
    return f'<text x="{x:.1f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>'


def _stroke(number: int, width: float, *, dash: bool = True) -> str:
    color = COLORS[number % len(COLORS)]
    dashes = DASHES[number % len(DASHES)] if dash else ""
    return f'stroke="{color}" stroke-width="{width}"' + (
        f' stroke-dasharray="{dashes}"' if dashes else ""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Where values are in a panel."""

    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    x_range: tuple[float, float]

    @classmethod
    def around(cls, marks: Sequence[Mark]) -> "_Scale":
        """Ticks around all points and intervals; fractions are not given room above 1."""
        xs = [mark.x for mark in marks] or [0.0]
        bounds = [(mark.low, mark.y, mark.high) for mark in marks]
        ys = [value for found in bounds for value in found if value is not None] or [0.0, 1.0]
        least, most = min(xs), max(xs)
        return cls(
            x_ticks=tuple(tick for tick in ticks(least, most) if least <= tick <= most),
            y_ticks=ticks(min(ys), max(ys)),
            x_range=(least, most) if most > least else (least - 1, most + 1),
        )

    def x(self, value: float) -> float:
        """The place of a value from left to right."""
        low, high = self.x_range
        return _LEFT + 6 + (PANEL_WIDTH - _LEFT - _RIGHT - 12) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """The place of a value from top to bottom."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        part = min(max((value - low) / (high - low), 0.0), 1.0)
        return PANEL_HEIGHT - _BOTTOM - (PANEL_HEIGHT - _TOP - _BOTTOM) * part


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers from at most `low` to at least `high`, five or so.

    Example: `ticks(0.31, 0.78) == (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)`
    """
    span = high - low if high > low else max(abs(high), 1.0) * 0.1
    rough = span / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough - 1e-12)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return tuple(round(step * number, 10) for number in range(first, last + 1))
