"""Where a run's scores come from: by width, table size, language and way of ending; extremes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from wideseek_core import Score, Status, TableMetrics, Task
from wideseek_core.tasks import Record, source_of
from wideseek_eval.runs.folder import StoredRun
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.about import About, about_run
from wideseek_eval.statistics.means import Mean, mean_of
from wideseek_eval.statistics.official import official_summary
from wideseek_eval.statistics.summary import (
    Summary,
    summarize,
    value_of,
    values_by_question,
)

_WIDTHS = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 7), (8, 10), (11, None))
_SIZES = ((1, 5), (6, 10), (11, 20), (21, 40), (41, 80), (81, None))
_STATUS = {
    Status.TURN_CUT: "turn cut off",
    Status.CONTEXT_OVERFLOW: "context overflow",
    Status.MESSAGE_OVERFLOW: "tool results too long",
    Status.BUDGET_LIMIT: "budget spent",
    Status.ABORTED: "aborted",
    Status.TURN_LIMIT: "turn limit",
    Status.REPETITION: "repetition",
    Status.ERROR: "agent error",
}


class Group(Record):
    """The rollouts that have something in common."""

    name: str
    questions: int
    rollouts: int
    """Those without a score included."""
    score: Mean | None = None
    """None if none of them counts."""


class Extreme(Record):
    """A question that went notably well or badly."""

    task_id: str
    question: str
    language: str
    rows: int
    mean: float
    scores: tuple[float, ...]
    """Of the trials that count, in order."""
    best_trial: int
    worst_trial: int


class Report(Record):
    """Everything a report shows, computed from a run's files alone."""

    version: Literal[1] = 1
    name: str
    about: About = About()
    summary: Summary
    official: dict[str, dict[str, dict[str, float]]]
    """Per language and `overall`: the metrics of the official summary, by their names there."""
    by_width: tuple[Group, ...]
    """By number of subagents of a rollout."""
    by_size: tuple[Group, ...]
    """By rows of the reference table."""
    by_language: tuple[Group, ...]
    by_source: tuple[Group, ...]
    by_ending: tuple[Group, ...]
    """By what went right or wrong."""
    best: tuple[Extreme, ...]
    worst: tuple[Extreme, ...]


def make_report(name: str, run: StoredRun, *, extremes: int = 10) -> Report:
    """The report of a run."""
    tasks, results = run.tasks, run.results
    ranked = rank(results, tasks)
    return Report(
        name=name,
        about=about_run(run.header),
        summary=summarize(results),
        official=official_summary(results),
        by_width=binned(results, lambda result: result.episode.subagents, _WIDTHS),
        by_size=binned(results, lambda result: tasks[result.task_id].rows, _SIZES),
        by_language=grouped(results, lambda result: result.language),
        by_source=grouped(results, lambda result: source_of(tasks[result.task_id].source)),
        by_ending=grouped(results, ending),
        best=tuple(ranked[:extremes]),
        # A question is not shown among the worst if it is already among the best.
        worst=tuple(ranked[extremes:][-extremes:][::-1]),
    )


def grouped(results: Iterable[Result], name: Callable[[Result], str]) -> tuple[Group, ...]:
    """Groups by name, the largest first."""
    found: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        found[name(result)].append(result)
    largest = sorted(found, key=lambda key: (-len(found[key]), key))
    return tuple(_group(key, found[key]) for key in largest)


def binned(
    results: Sequence[Result],
    size: Callable[[Result], int],
    bins: Sequence[tuple[int, int | None]],
) -> tuple[Group, ...]:
    """Groups by a number, in its order; empty ones are left out."""
    groups: list[Group] = []
    for low, high in bins:
        inside = [
            result
            for result in results
            if size(result) >= low and (high is None or size(result) <= high)
        ]
        if inside:
            groups.append(_group(_bin_name(low, high), inside))
    return tuple(groups)


def _bin_name(low: int, high: int | None) -> str:
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"


def _group(name: str, results: Sequence[Result]) -> Group:
    trials = values_by_question(results, "score")
    means = [sum(values) / len(values) for values in trials.values()]
    return Group(
        name=name,
        questions=len({result.task_id for result in results}),
        rollouts=len(results),
        score=mean_of(means) if means else None,
    )


def ending(result: Result) -> str:
    """What went right or wrong with a rollout, in two or three words."""
    score = result.score
    if score is None:
        return "rollout broke"
    if result.outcome == "unscored":
        return "no verdict"
    if result.outcome == "failed":
        return _STATUS.get(result.episode.status) or _failure(score)
    if score.value >= 1:
        return "all right"
    if not isinstance(score.metrics, TableMetrics):
        return "wrong answer"
    if not score.format_valid:
        return "wrong columns"
    if score.missing_rows:
        return "rows missing"
    return "rows too many" if score.extra_rows else "cells wrong"


def _failure(score: Score) -> str:
    """What was wrong with the answer of an agent that finished, by the judge's message."""
    if score.message.startswith("no table") or not score.message:
        return "no answer found"
    return "wrong columns" if score.message.startswith("columns") else "unusable answer"


def rank(results: Iterable[Result], tasks: Mapping[str, Task]) -> list[Extreme]:
    """Every question that has a score, best first; of equals, the larger table first."""
    trials: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for result in results:
        value = value_of(result, "score")
        if value is not None:
            trials[result.task_id].append((result.trial, value))
    found: list[Extreme] = []
    for name, values in trials.items():
        task = tasks[name]
        scores = tuple(value for _, value in values)
        found.append(
            Extreme(
                task_id=name,
                question=task.question,
                language=task.language,
                rows=task.rows,
                mean=sum(scores) / len(scores),
                scores=scores,
                best_trial=max(values, key=lambda pair: pair[1])[0],
                worst_trial=min(values, key=lambda pair: pair[1])[0],
            )
        )
    return sorted(found, key=lambda extreme: (-extreme.mean, -extreme.rows, extreme.task_id))
