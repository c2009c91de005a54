"""How scores scale with one setting: width (subagents), depth (turns), or another."""

from collections.abc import Awaitable, Callable, Iterable
from html import escape
from typing import Literal, TypeVar

from wideseek_core import ConfigError
from wideseek_core.tasks import Record
from wideseek_eval.reports.html import page
from wideseek_eval.reports.svg import Point, curve
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import Summary
from wideseek_eval.statistics.titles import TITLES

V = TypeVar("V")

_METRICS = ("item_f1", "row_f1", "success", "correct")
_EFFORT = ("subagents",)


class SweepPoint(Record):
    """The summary at one value."""

    value: str
    summary: Summary


class Sweep(Record):
    """A scaling curve."""

    version: Literal[1] = 1
    parameter: str
    """What was varied: `max_subagents`, `lead_turns`, ..."""
    points: tuple[SweepPoint, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics and efforts that the points have."""
        known = [point.summary.overall for point in self.points]
        return tuple(
            name
            for name in (*_METRICS, *_EFFORT)
            if any(name in one.metrics or name in one.effort for one in known)
        )


async def run_sweep(
    parameter: str, values: Iterable[V], evaluate_at: Callable[[V], Awaitable[Summary]]
) -> Sweep:
    """Evaluates at each value in turn; `evaluate_at` runs (or resumes) one evaluation.

    Raises `ConfigError` if there is nothing to vary.
    """
    points = [SweepPoint(value=str(value), summary=await evaluate_at(value)) for value in values]
    if not points:
        raise ConfigError(f"sweep.{parameter}: give at least one value")
    return Sweep(parameter=parameter, points=tuple(points))


def sweep_page(sweep: Sweep) -> str:
    """The curves as a self-contained HTML page."""
    charts = [
        f"<div class='card'><h3>{TITLES[name]} by {escape(sweep.parameter)}</h3>"
        f"{curve(TITLES[name], _points(sweep, name))}</div>"
        for name in sweep.metrics
        if name in _METRICS
    ]
    title = f"Scaling with {sweep.parameter}"
    return page(
        title,
        f"<h1>{escape(title)}</h1><p class='lead'>Bands are 95% intervals, clustered by question."
        f"</p><div class='charts'>{''.join(charts)}</div><h2>Values</h2>{_table(sweep)}",
    )


def _points(sweep: Sweep, name: str) -> list[Point]:
    points: list[Point] = []
    for point in sweep.points:
        mean = point.summary.mean(name)
        notes = (f"{mean.questions} q",)
        points.append(
            Point(name=point.value, notes=notes, mean=mean.mean, low=mean.low, high=mean.high)
        )
    return points


def _cell(name: str, mean: Mean) -> str:
    digits = 3 if name in _METRICS else 1
    interval = f"{mean.low:.{digits}f} – {mean.high:.{digits}f}"
    return f"{mean.mean:.{digits}f}<br><small>{interval}</small>"


def _table(sweep: Sweep) -> str:
    head = "".join(f"<th class='number'>{TITLES[name]}</th>" for name in sweep.metrics)
    rows: list[str] = []
    for point in sweep.points:
        counts = point.summary.overall.counts
        cells = "".join(
            f"<td class='number'>{_cell(name, point.summary.mean(name))}</td>"
            for name in sweep.metrics
        )
        lost = f"{counts.unscored} unscored, {counts.error} broken"
        rows.append(f"<tr><td>{escape(point.value)}</td>{cells}<td>{lost}</td></tr>")
    return (
        f"<div class='card scroll'><table><tr><th>{escape(sweep.parameter)}</th>{head}"
        f"<th>not counted</th></tr>{''.join(rows)}</table></div>"
    )
