"""Reports as HTML pages that need nothing beside them: style, charts and tables inside.

The templates escape whatever tasks, models and judges wrote; only figures are markup already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from wideseek_core import TableGold, Task
from wideseek_eval.reports.diff import TableDiff, diff_tables
from wideseek_eval.reports.figures import Figure, make_figures
from wideseek_eval.reports.svg import Point, curve
from wideseek_eval.runs.folder import Key, StoredRun
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.breakdown import Extreme, Report
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import EFFORT, Counts, Metric, Slice
from wideseek_eval.statistics.sweep import SWEEP_METRICS, Sweep
from wideseek_eval.statistics.titles import TITLES

_TILES = ("item_f1", "row_f1", "success", "correct", "format_valid", "subagents")
MAX_ROWS = 60
"""Rows of a table that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQuestion:
    """A question with the evidence of one of its trials."""

    extreme: Extreme
    story: str
    message: str
    answer: str | None
    reference: str | None
    diff: TableDiff | None
    more_rows: int = 0


def report_page(report: Report, run: StoredRun) -> str:
    """The page of a run."""
    overall = report.summary.overall
    means = {name: metric.avg for name, metric in overall.metrics.items()} | overall.effort
    extremes = (
        ("Best questions", [_shown(found, run, found.best_trial) for found in report.best]),
        (
            "Worst questions",
            [_shown(found, run, found.worst_trial) for found in report.worst],
        ),
    )
    return render(
        "report.html",
        title=report.name,
        overall=overall,
        languages=report.summary.languages,
        sources=report.summary.sources,
        reasons=overall.reasons,
        tiles=[(name, means[name]) for name in _TILES if name in means],
        figures=list(make_figures(report, run)),
        extremes=[pair for pair in extremes if pair[1]],
    )


def sweep_page(sweep: Sweep) -> str:
    """The curves of a sweep."""
    figures = [
        Figure(
            title=f"{TITLES[name]} by {sweep.parameter}",
            svg=curve(TITLES[name], _points(sweep, name)),
        )
        for name in sweep.metrics
        if name in SWEEP_METRICS
    ]
    return render(
        "sweep.html",
        title=f"Scaling with {sweep.parameter}",
        parameter=sweep.parameter,
        figures=figures,
        metrics=sweep.metrics,
        points=sweep.points,
    )


def render(template: str, **values: object) -> str:
    """A page from one of the templates. What is put in is escaped."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wideseek_eval.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "counts": counts_text,
        "figure": _figure,
        "interval": _interval,
        "percent": "{:.1%}".format,
        "title_of": TITLES.__getitem__,
        "by_headline": _by_headline,
        "notes": _notes,
    }
    environment.filters.update(filters)
    return environment


def counts_text(counts: Counts) -> str:
    """How many rollouts ended in which way."""
    return (
        f"{counts.scored} rollouts scored, {counts.failed} failed, "
        f"{counts.unscored} unscored, {counts.error} broken"
    )


def _figure(value: float, name: str) -> str:
    if name in ("prompt_tokens", "response_tokens"):
        return f"{value:,.0f}"
    return f"{value:.1f}" if name in EFFORT else f"{value:.1%}"


def _interval(mean: Mean, name: str) -> str:
    low, high = _figure(mean.low, name), _figure(mean.high, name)
    return f"{low.removesuffix('%')} – {high}"


def _by_headline(metrics: Mapping[str, Metric]) -> list[tuple[str, Metric]]:
    """Headline metrics first, in the order of the tiles."""

    def place(pair: tuple[str, Metric]) -> int:
        return _TILES.index(pair[0]) if pair[0] in _TILES else len(_TILES)

    return sorted((pair for pair in metrics.items() if pair[0] != "score"), key=place)


def _notes(part: Slice) -> str:
    notes = [f"{part.questions} questions; {counts_text(part.counts)}"]
    if part.short:
        notes[0] += f"; {part.short} questions with fewer than {part.trials} trials that count"
    lost = part.counts.unscored + part.counts.error
    if lost:
        notes.append(
            f"If the {lost} rollouts without a score counted as 0, the score would be "
            f"{part.metrics['score'].with_lost:.1%}"
        )
    for metric, values in part.metrics.items():
        if len(values.pass_at) > 1:
            chances = ", ".join(f"@{j} {chance:.1%}" for j, chance in values.pass_at.items())
            notes.append(f"{TITLES[metric]}, pass{chances}")
    return ". ".join(notes) + "."


def _shown(extreme: Extreme, run: StoredRun, trial: int) -> ShownQuestion:
    results: Mapping[Key, Result] = {
        (result.task_id, result.trial): result for result in run.results
    }
    task, result = run.tasks[extreme.task_id], results[extreme.task_id, trial]
    score, gold = result.score, task.gold
    diff = None
    if isinstance(gold, TableGold) and score is not None:
        diff = diff_tables(gold, result.answer, score)
    show_answer = diff is None or score is None or not score.cells
    return ShownQuestion(
        extreme=extreme,
        story=_story(extreme, task, result),
        message="" if score is None else score.message,
        answer=result.answer if show_answer else None,
        reference=None if isinstance(gold, TableGold) else "\n".join(gold.answers),
        diff=diff and TableDiff(columns=diff.columns, rows=diff.rows[:MAX_ROWS]),
        more_rows=max(0, len(diff.rows) - MAX_ROWS) if diff else 0,
    )


def _story(extreme: Extreme, task: Task, result: Result) -> str:
    scores = ", ".join(f"{score:.2f}" for score in extreme.scores)
    episode = result.episode
    return (
        f"{task.id} · trial {result.trial}: {episode.subagents} subagents, {episode.searches} "
        f"searches, {episode.accesses} pages read, {episode.seconds:.0f} s · scores {scores}"
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
