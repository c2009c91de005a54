"""A run in numbers: avg@k, max@k, min@k and pass@k per language, with intervals and counts."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pydantic import Field

from wideseek_core import Usage
from wideseek_core.tasks import Record, source_of
from wideseek_core.text import one_line
from wideseek_core.usage import total_usage
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.means import Mean, mean_of, pass_at

TABLE_METRICS = (
    "item_f1",
    "item_precision",
    "item_recall",
    "row_f1",
    "row_precision",
    "row_recall",
    "success",
)
TEXT_METRICS = ("correct", "exact_match", "token_f1", "contains")
METRICS = ("score", *TABLE_METRICS, *TEXT_METRICS, "format_valid")
"""All metrics that a run may have, whatever its questions are."""
BINARY_METRICS = ("success", "correct")
"""What is 0 or 1 in a single trial, so that pass@k means something."""
EFFORT = (
    "subagents",
    "lead_turns",
    "subagent_turns",
    "searches",
    "accesses",
    "prompt_tokens",
    "response_tokens",
    "seconds",
)


MAX_REASON = 80
"""Characters of a reason that are shown."""


class Counts(Record):
    """Rollouts by outcome. Only `scored` and `failed` count in means of metrics."""

    scored: int = 0
    failed: int = 0
    """No usable answer: zeros."""
    unscored: int = 0
    """The judge gave no verdict."""
    error: int = 0
    """The rollout could not be completed."""


class Metric(Record):
    """One metric over questions; k is the number of trials of each question."""

    avg: Mean
    """avg@k: over questions, the mean over trials."""
    max: Mean
    """max@k, which is pass@k where a trial is right or wrong."""
    min: Mean
    pass_at: dict[int, float] = Field(default_factory=dict)
    """Of binary metrics: unbiased pass@j for j up to k."""
    with_lost: float = 0.0
    """avg@k if the rollouts without a score counted as 0."""


class Slice(Record):
    """Everything about the rollouts of one language, or of all."""

    questions: int
    trials: int
    """k: the most trials any question has."""
    short: int = 0
    """Questions with fewer than k trials that count."""
    counts: Counts
    reasons: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Why rollouts failed or have no score: by outcome, how many for which reason."""
    metrics: dict[str, Metric]
    effort: dict[str, Mean]
    """Per rollout: subagents, turns, searches, tokens, seconds."""
    usage: tuple[Usage, ...] = ()
    """Sums over all rollouts, by role and model: lead, subagents, summaries of pages, judge."""


class Summary(Record):
    """A run in numbers."""

    version: Literal[1] = 1
    overall: Slice
    languages: dict[str, Slice] = Field(default_factory=dict)
    sources: dict[str, Slice] = Field(default_factory=dict)
    """By where the tasks come from; empty if that is one place."""

    def mean(self, name: str) -> Mean:
        """avg@k of a metric, or the mean of an effort; of no questions if it has none."""
        metric = self.overall.metrics.get(name)
        if metric is not None:
            return metric.avg
        return self.overall.effort.get(name) or mean_of(())

    @property
    def score(self) -> Mean:
        """What ranks: item F1 of tables, correctness of short answers."""
        return self.mean("score")

    @property
    def item_f1(self) -> Mean:
        """Over table questions."""
        return self.mean("item_f1")

    @property
    def row_f1(self) -> Mean:
        """Over table questions."""
        return self.mean("row_f1")

    @property
    def success(self) -> Mean:
        """Fraction of tables that are exactly right."""
        return self.mean("success")

    @property
    def correct(self) -> Mean:
        """Over questions with a short answer."""
        return self.mean("correct")

    @property
    def format_rate(self) -> Mean:
        """Fraction of answers of valid format."""
        return self.mean("format_valid")

    @property
    def subagents(self) -> Mean:
        """Per rollout."""
        return self.mean("subagents")


def summarize(results: Iterable[Result]) -> Summary:
    """The summary of a run's results."""
    everything = list(results)
    sources = _slices(everything, lambda result: source_of(result.source))
    return Summary(
        overall=summarize_slice(everything),
        languages=_slices(everything, lambda result: result.language),
        sources=sources if len(sources) > 1 else {},
    )


def _slices(results: Iterable[Result], name: Callable[[Result], str]) -> dict[str, Slice]:
    groups: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[name(result)].append(result)
    return {name: summarize_slice(groups[name]) for name in sorted(groups)}


def count(results: Sequence[Result]) -> Counts:
    """Rollouts by outcome."""
    outcomes = Counter(result.outcome for result in results)
    return Counts(
        scored=outcomes["scored"],
        failed=outcomes["failed"],
        unscored=outcomes["unscored"],
        error=outcomes["error"],
    )


def reasons(results: Iterable[Result]) -> dict[str, dict[str, int]]:
    """Why rollouts failed or have no score: by outcome, reasons with their counts, most first."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        if result.outcome != "scored":
            found[result.outcome][reason(result)] += 1
    return {outcome: dict(counter.most_common()) for outcome, counter in sorted(found.items())}


def reason(result: Result) -> str:
    """Why a rollout failed or has no score, in a few words without its particulars."""
    text = result.episode.error if result.score is None else result.score.message
    return one_line(text).partition(": ")[0][:MAX_REASON] or "no reason given"


def summarize_slice(results: Sequence[Result]) -> Slice:
    """Counts, metrics and effort of some results."""
    questions = {result.task_id for result in results}
    scores = values_by_question(results, "score")
    trials = max(
        (len(trials) for trials in _by_question(results, lambda _: 0.0).values()), default=0
    )
    names = [name for kind in ("table", "text") if _has(results, kind) for name in _METRICS[kind]]
    return Slice(
        questions=len(questions),
        trials=trials,
        short=sum(len(scores.get(question, ())) < trials for question in questions),
        counts=count(results),
        reasons=reasons(results),
        metrics={
            name: summarize_metric(results, name) for name in ("score", *names, "format_valid")
        },
        effort={name: _effort(results, name) for name in EFFORT},
        usage=total_usage(part for result in results for part in result.usage),
    )


_METRICS = {"table": TABLE_METRICS, "text": TEXT_METRICS}


def _has(results: Sequence[Result], kind: str) -> bool:
    return any(result.kind == kind for result in results)


def summarize_metric(results: Sequence[Result], name: str) -> Metric:
    """One metric over the questions that have it."""
    trials = [values for _, values in sorted(values_by_question(results, name).items())]
    most = max(map(len, trials), default=0)
    chances = dict[int, float]()
    if name in BINARY_METRICS:
        for k in range(1, most + 1):
            # A question with fewer trials gives what it has, as it does to max@k.
            right = [
                pass_at(len(values), round(sum(values)), min(k, len(values))) for values in trials
            ]
            chances[k] = mean_of(right).mean
    return Metric(
        avg=mean_of([sum(values) / len(values) for values in trials]),
        max=mean_of([max(values) for values in trials]),
        min=mean_of([min(values) for values in trials]),
        pass_at=chances,
        with_lost=_with_lost(results, name),
    )


def _with_lost(results: Sequence[Result], name: str) -> float:
    """The mean over questions if the rollouts without a score counted as 0."""

    def value(result: Result) -> float | None:
        if result.outcome in ("scored", "failed"):
            return value_of(result, name)
        return 0.0 if name in ("score", "format_valid", *_METRICS[result.kind]) else None

    trials = _by_question(results, value).values()
    return mean_of([sum(values) / len(values) for values in trials]).mean


def values_by_question(results: Iterable[Result], name: str) -> dict[str, list[float]]:
    """Task id to a metric's values of its trials, of the rollouts that count."""
    return _by_question(results, lambda result: value_of(result, name))


def value_of(result: Result, name: str) -> float | None:
    """A metric or effort of one result; None if it does not count or has no such metric."""
    if name in EFFORT:
        return None if result.outcome == "error" else float(getattr(result.episode, name))
    score = result.score
    if score is None or result.outcome == "unscored":
        return None
    if name == "format_valid":
        return float(score.format_valid)
    value: object = score.value if name == "score" else getattr(score.metrics, name, None)
    return value if isinstance(value, float) and math.isfinite(value) else None


def _effort(results: Sequence[Result], name: str) -> Mean:
    trials = values_by_question(results, name).values()
    return mean_of([sum(values) / len(values) for values in trials], fraction=False)


def _by_question(
    results: Iterable[Result], value: Callable[[Result], float | None]
) -> dict[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for result in results:
        measured = value(result)
        if measured is not None:
            found[result.task_id].append(measured)
    return dict(found)
