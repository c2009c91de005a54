"""The figures of a report: built-in ones, and those that installed distributions add.

A plug-in of the group `wideseek.report_figures` is a function of a `Report` and a `StoredRun` that
returns a `Figure`, or None if there is nothing to show.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wideseek_core import ConfigError, WideSeekError
from wideseek_core.plugins import installed
from wideseek_eval.reports.svg import Point, Share, bar_chart, share_chart
from wideseek_eval.runs.folder import StoredRun
from wideseek_eval.statistics.breakdown import Group, Report

GROUP = "wideseek.report_figures"
MAX_SOURCES = 10

_ENDINGS = {
    "all right": "good",
    "rows missing": "partly",
    "cells wrong": "partly",
    "rows too many": "partly",
    "no verdict": "unknown",
    "rollout broke": "unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a report.

    Example: `Figure(title="Score by month", svg=bar_chart("Score by month", points))`
    """

    title: str
    svg: str
    """Markup that is put into the page as it is: escape what tasks and models wrote."""


MakeFigure = Callable[[Report, StoredRun], Figure | None]


def make_figures(report: Report, run: StoredRun) -> Iterator[Figure]:
    """All figures of a report. Raises `ConfigError` for a plug-in that fails."""
    for make in BUILT_IN:
        figure = make(report, run)
        if figure is not None:
            yield figure
    for name, plugin in installed(GROUP).items():
        figure = _of_plugin(name, plugin, report, run)
        if figure is not None:
            yield figure


def _of_plugin(name: str, plugin: object, report: Report, run: StoredRun) -> Figure | None:
    problem = "is no function"
    if callable(plugin):
        try:
            figure: object = plugin(report, run)
        except WideSeekError:
            raise
        except Exception as error:  # a plug-in can raise anything
            raise ConfigError(
                f"plug-in {name!r} of {GROUP}: {type(error).__name__}: {error}"
            ) from error
        if figure is None or isinstance(figure, Figure):
            return figure
        problem = f"returned a {type(figure).__name__}, not a Figure"
    raise ConfigError(f"plug-in {name!r} of {GROUP} {problem}")


def by_width(report: Report, run: StoredRun) -> Figure | None:
    """Scores by the number of subagents."""
    return _bars("Score by width (subagents in the rollout)", report.by_width)


def by_size(report: Report, run: StoredRun) -> Figure | None:
    """Scores by the size of the reference table."""
    return _bars("Score by table size (rows of the reference)", report.by_size)


def by_language(report: Report, run: StoredRun) -> Figure | None:
    """Scores by language."""
    return _bars("Score by language", report.by_language)


def by_source(report: Report, run: StoredRun) -> Figure | None:
    """Scores by source, if there are not too many for one chart."""
    shown = len(report.by_source) <= MAX_SOURCES
    return _bars("Score by source", report.by_source if shown else ())


def by_ending(report: Report, run: StoredRun) -> Figure | None:
    """How rollouts end, and what they score."""
    title = "How rollouts end, and what they score"
    shares = [_share(group) for group in report.by_ending]
    return Figure(title=title, svg=share_chart(title, shares)) if shares else None


BUILT_IN: tuple[MakeFigure, ...] = (by_width, by_size, by_language, by_ending, by_source)


def _share(group: Group) -> Share:
    score = "" if group.score is None else f" · {group.score.mean:.2f}"
    kind = _ENDINGS.get(group.name, "poor")
    return Share(name=group.name, count=group.rollouts, note=score, kind=kind)


def _bars(title: str, groups: Iterable[Group]) -> Figure | None:
    points = [
        Point(
            name=group.name,
            notes=(f"{group.questions} q", f"{group.rollouts} r"),
            mean=group.score.mean,
            low=group.score.low,
            high=group.score.high,
        )
        for group in groups
        if group.score is not None
    ]
    # A single bar says no more than the table above it.
    return Figure(title=title, svg=bar_chart(title, points)) if len(points) > 1 else None
