"""What the pictures of runs show: training metrics by step, and scores by the width of teams."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from wideseek_core import ConfigError, DataError
from wideseek_core.files import read_objects
from wideseek_eval.reports.plots import Line, Mark, Panel
from wideseek_eval.runs.find import find_run
from wideseek_eval.statistics.breakdown import make_report
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import summarize
from wideseek_eval.statistics.titles import TITLES

LabelledRuns = Sequence[tuple[str, Path]]
"""Runs with what they are called; runs of one label are seeds of one setting."""

TRAINING_METRICS = ("score/item_f1", "score/format_rate", "agents/subagents_per_rollout")
WIDTH_METRICS = ("item_f1", "row_f1")
_TRAINING_TITLES = {
    "score/item_f1": "Item F1 of training rollouts",
    "score/row_f1": "Row F1 of training rollouts",
    "score/success": "Exactly right tables",
    "score/mean": "Score of training rollouts",
    "score/format_rate": "Valid answers",
    "reward/mean": "Reward",
    "agents/subagents_per_rollout": "Subagents per rollout",
}
WINDOW = 5
"""Steps of the running mean."""


def is_training(run: Path) -> bool:
    """Whether a folder is that of a training run."""
    return (run / "metrics.jsonl").is_file()


def training_panels(runs: LabelledRuns, metrics: Sequence[str] = ()) -> list[Panel]:
    """A panel for each metric: every step faintly, the mean of the last few, and held-out points.

    Raises `DataError` for a folder without metrics, `ConfigError` for a metric that no run has.
    """
    read = [(label, _read_metrics(run)) for label, run in runs]
    known = dict.fromkeys(name for _, values in read for name in values)
    unknown = next((name for name in metrics if name not in known), None)
    if unknown is not None:
        raise ConfigError(f"no run has a metric {unknown!r}; known: {', '.join(sorted(known))}")
    chosen = list(metrics) or [name for name in TRAINING_METRICS if name in known]
    if not chosen:
        raise DataError(f"nothing to draw yet: no run has {', '.join(TRAINING_METRICS)}")
    return [
        Panel(
            title=_TRAINING_TITLES.get(name, name),
            x_title="step",
            lines=tuple(
                line for label, values in read for line in _training_lines(label, values, name)
            ),
        )
        for name in chosen
    ]


def _read_metrics(run: Path) -> dict[str, list[tuple[float, float]]]:
    """Steps and values of each metric."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise DataError(f"{run} is not a training run: it has no metrics.jsonl")
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for _, line in read_objects(path, growing=True):
        step = line.get("step")
        if not isinstance(step, int):
            continue
        for name, value in line.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if name not in ("version", "step") and number and math.isfinite(value):
                found[name].append((step, float(value)))
    return dict(found)


def _training_lines(
    label: str, values: Mapping[str, list[tuple[float, float]]], name: str
) -> list[Line]:
    points = values.get(name, [])
    lines = [
        Line(label=label, marks=_marks(points), faint=True),
        Line(label=label, marks=_marks(_smoothed(points))),
    ]
    held_out = values.get(f"eval/held_out/{name.rpartition('/')[2]}", [])
    if held_out and name.startswith("score/"):
        lines.append(Line(label=label, marks=_marks(held_out), dots=True, joined=False))
    return lines


def _marks(points: Sequence[tuple[float, float]]) -> tuple[Mark, ...]:
    return tuple(Mark(x=x, y=y) for x, y in points)


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    recent = [points[max(0, at - WINDOW + 1) : at + 1] for at in range(len(points))]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in recent]


def note_on(panels: Sequence[Panel]) -> str:
    """What the marks of the panels mean."""
    lines = [line for panel in panels for line in panel.lines]
    notes = {
        f"thick lines are means of the last {WINDOW} steps": any(line.faint for line in lines),
        "circles are held-out questions, before and after": any(not line.joined for line in lines),
        "bars are 95% intervals, clustered by question": any(
            mark.low is not None for line in lines for mark in line.marks
        ),
    }
    text = "; ".join(note for note, shown in notes.items() if shown)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def width_panels(runs: LabelledRuns, metrics: Sequence[str] = ()) -> list[Panel]:
    """How scores grow with the number of subagents, with 95% intervals.

    Of several runs each is a point at its mean number of subagents; of a single run its rollouts
    are grouped by their number. Raises `DataError`, and `ConfigError` for an unknown metric.
    """
    chosen = list(metrics) or list(WIDTH_METRICS)
    unknown = next((name for name in chosen if name not in TITLES), None)
    if unknown is not None:
        raise ConfigError(f"unknown metric {unknown!r}; known: {', '.join(TITLES)}")
    title = "subagents per rollout"
    if len(runs) == 1:
        if metrics:
            raise ConfigError("metrics: rollouts of a single run are drawn by their score alone")
        line = _by_width(*runs[0])
        return [Panel(title="Score by width", x_title=title, lines=(line,))]
    summaries = [(label, summarize(find_run(str(run)).load().results)) for label, run in runs]
    panels: list[Panel] = []
    for name in chosen:
        marks = [_mark(found.subagents.mean, found.mean(name)) for _, found in summaries]
        ordered = tuple(sorted(marks, key=lambda mark: mark.x))
        lines = (Line(label="all runs", marks=ordered, dots=True),)
        panels.append(Panel(title=TITLES[name], x_title=title, lines=lines))
    return panels


def _by_width(label: str, path: Path) -> Line:
    report = make_report(label, find_run(str(path)).load())
    marks = [
        _mark(_middle(group.name), group.score)
        for group in report.by_width
        if group.score is not None
    ]
    return Line(label=label, marks=tuple(marks), dots=True)


def _middle(name: str) -> float:
    """The middle of a group's range of widths, or its beginning if it is open."""
    low, _, high = name.removesuffix("+").partition("–")
    return (float(low) + float(high or low)) / 2


def _mark(x: float, mean: Mean) -> Mark:
    return Mark(x=x, y=mean.mean, low=mean.low, high=mean.high)
