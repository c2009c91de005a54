"""Reports as HTML pages that need nothing beside them: style, charts and tables inside.

The templates escape whatever tasks, models and judges wrote; only figures are markup already.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from wideseek_core.counting import counted
from wideseek_core.tasks import source_of
from wideseek_eval.reports.figures import Figure, make_figures
from wideseek_eval.reports.questions import ShownQuestion, shown_questions
from wideseek_eval.reports.svg import Point, curve
from wideseek_eval.runs.folder import StoredRun
from wideseek_eval.statistics.about import about_run
from wideseek_eval.statistics.breakdown import Report
from wideseek_eval.statistics.compare import Comparison
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import EFFORT, Counts, Metric, Slice
from wideseek_eval.statistics.sweep import SWEEP_METRICS, Sweep
from wideseek_eval.statistics.titles import TITLES

_TILES = ("item_f1", "row_f1", "success", "correct", "format_valid", "subagents")


def report_page(report: Report, run: StoredRun) -> str:
    """The page of a run."""
    overall = report.summary.overall
    means = {name: metric.avg for name, metric in overall.metrics.items()} | overall.effort
    return render(
        "report.html",
        title=report.name,
        overall=overall,
        languages=report.summary.languages,
        sources=report.summary.sources,
        reasons=overall.reasons,
        tiles=[(name, means[name]) for name in _TILES if name in means],
        figures=list(make_figures(report, run)),
        about=[("", report.about)],
        questions=shown_questions([(report.name, run)]),
    )


def comparison_page(comparison: Comparison, runs: Sequence[tuple[str, StoredRun]]) -> str:
    """The page of two named runs side by side."""
    about = [(name, about_run(run.header)) for name, run in runs]
    first, second = (found.settings for _, found in about)
    return render(
        "comparison.html",
        title=f"{runs[0][0]} and {runs[1][0]}",
        names=[name for name, _ in runs],
        comparison=comparison,
        about=about,
        changed=[
            (key, first.get(key, ""), second.get(key, ""))
            for key in dict.fromkeys((*first, *second))
            if first.get(key) != second.get(key)
        ],
        questions=shown_questions(runs),
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
    script = _script()
    policy = f"default-src 'none'; script-src {script_hash(script)}; style-src 'unsafe-inline'"
    page = _environment().get_template(template)
    return page.render(script=script, policy=policy, **values)


def script_hash(text: str) -> str:
    """What a content security policy calls a script or style by."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _script() -> str:
    return files("wideseek_eval.reports").joinpath("templates/page.js").read_text("utf-8")


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
        "counted": counted,
        "counts": counts_text,
        "figure": _figure,
        "interval": _interval,
        "percent": "{:.1%}".format,
        "title_of": TITLES.__getitem__,
        "by_headline": _by_headline,
        "score": _score,
        "signed": _signed,
        "verdict": _verdict,
        "sources": _sources,
        "notes": _notes,
    }
    environment.filters.update(filters)
    return environment


def counts_text(counts: Counts) -> str:
    """How many rollouts ended in which way."""
    return (
        f"{counted(counts.scored, 'rollout')} scored, {counts.failed} failed, "
        f"{counts.unscored} unscored, {counts.error} broken"
    )


def _figure(value: float, name: str) -> str:
    if name in ("prompt_tokens", "response_tokens"):
        return f"{value:,.0f}"
    return f"{value:.1f}" if name in EFFORT else f"{value:.1%}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _signed(value: float | None, digits: int = 2) -> str:
    """With a minus sign as wide as the plus sign."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _verdict(value: float | None) -> str:
    """The CSS class of a score."""
    if value is None:
        return "unknown"
    return "good" if value >= 1 else "partly" if value > 0 else "poor"


def _sources(questions: Sequence[ShownQuestion]) -> list[str]:
    return sorted({source_of(question.task.source) for question in questions})


def _interval(mean: Mean, name: str) -> str:
    low, high = _figure(mean.low, name), _figure(mean.high, name)
    return f"{low.removesuffix('%')} – {high}"


def _by_headline(metrics: Mapping[str, Metric]) -> list[tuple[str, Metric]]:
    """Headline metrics first, in the order of the tiles."""

    def place(pair: tuple[str, Metric]) -> int:
        return _TILES.index(pair[0]) if pair[0] in _TILES else len(_TILES)

    return sorted((pair for pair in metrics.items() if pair[0] != "score"), key=place)


def _notes(part: Slice) -> str:
    notes = [f"{counted(part.questions, 'question')}; {counts_text(part.counts)}"]
    if part.short:
        short, trials = counted(part.short, "question"), counted(part.trials, "trial")
        notes[0] += f"; {short} with fewer than {trials} that count"
    lost = part.counts.unscored + part.counts.error
    if lost:
        notes.append(
            f"If {counted(lost, 'rollout')} without a score counted as 0, the score would be "
            f"{part.metrics['score'].with_lost:.1%}"
        )
    for metric, values in part.metrics.items():
        if len(values.pass_at) > 1:
            chances = ", ".join(f"@{j} {chance:.1%}" for j, chance in values.pass_at.items())
            notes.append(f"{TITLES[metric]}, pass{chances}")
    return ". ".join(notes) + "."


def _points(sweep: Sweep, name: str) -> list[Point]:
    points: list[Point] = []
    for point in sweep.points:
        mean = point.summary.mean(name)
        notes = (f"{mean.questions} q",)
        points.append(
            Point(name=point.value, notes=notes, mean=mean.mean, low=mean.low, high=mean.high)
        )
    return points
