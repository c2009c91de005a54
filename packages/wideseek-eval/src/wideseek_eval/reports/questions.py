"""The questions of a report or a comparison: what was answered, beside what would be right."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wideseek_core import TableGold, Task
from wideseek_core.counting import counted
from wideseek_eval.reports.diff import TableDiff, diff_tables
from wideseek_eval.runs.folder import StoredRun
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.breakdown import ending
from wideseek_eval.statistics.summary import value_of

MAX_ROWS = 60
"""Rows of a table that are shown."""
MAX_DETAILED = 2000
"""Questions of a page that have their answers; further ones have their scores alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTrial:
    """One rollout of a question."""

    title: str
    story: str
    message: str
    answer: str | None
    """None where the comparison of the tables says it all."""
    reference: str | None
    diff: TableDiff | None
    more_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQuestion:
    """A question with its scores, of one run or of two."""

    task: Task
    ending: str
    scores: tuple[float | None, ...]
    """Means over the trials that count, a run each; None where there are none."""
    trials: tuple[ShownTrial, ...]
    """One of each run: that with the lowest score."""

    @property
    def change(self) -> float | None:
        """The second run's score minus the first one's."""
        first, last = self.scores[0], self.scores[-1]
        return None if first is None or last is None else last - first

    @property
    def searched(self) -> str:
        """What the search looks at."""
        return f"{self.task.id} {self.task.question} {self.task.source}".lower()


def shown_questions(runs: Sequence[tuple[str, StoredRun]]) -> list[ShownQuestion]:
    """The questions that every one of the named runs has results of, in the first one's order."""
    by_task = [_by_task(run.results) for _, run in runs]
    shared = [name for name in by_task[0] if all(name in found for found in by_task)]
    return [
        _question(
            runs[0][1].tasks[name],
            [(title, found[name]) for (title, _), found in zip(runs, by_task, strict=True)],
            detailed=number < MAX_DETAILED,
        )
        for number, name in enumerate(shared)
    ]


def _by_task(results: Iterable[Result]) -> dict[str, list[Result]]:
    found: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        found[result.task_id].append(result)
    return dict(found)


def _question(
    task: Task, runs: Sequence[tuple[str, Sequence[Result]]], *, detailed: bool
) -> ShownQuestion:
    lowest = [min(results, key=_rank) for _, results in runs]
    pairs = zip(runs, lowest, strict=True)
    return ShownQuestion(
        task=task,
        ending=ending(lowest[-1]),
        scores=tuple(_mean(results) for _, results in runs),
        trials=tuple(_trial(title, task, chosen, results) for (title, results), chosen in pairs)
        if detailed
        else (),
    )


def _rank(result: Result) -> tuple[float, int]:
    """Trials that count come first, by their score."""
    value = value_of(result, "score")
    return (2.0 if value is None else value, result.trial)


def _mean(results: Sequence[Result]) -> float | None:
    values = [value for result in results if (value := value_of(result, "score")) is not None]
    return sum(values) / len(values) if values else None


def _trial(title: str, task: Task, result: Result, results: Sequence[Result]) -> ShownTrial:
    score, gold = result.score, task.gold
    diff = None
    if isinstance(gold, TableGold) and score is not None:
        diff = diff_tables(gold, result.answer, score)
    show_answer = diff is None or score is None or not score.cells
    return ShownTrial(
        title=title,
        story=_story(task, result, results),
        message=result.episode.error if score is None else score.message,
        answer=result.answer if show_answer else None,
        reference=None if isinstance(gold, TableGold) else "\n".join(gold.answers),
        diff=diff and TableDiff(columns=diff.columns, rows=diff.rows[:MAX_ROWS]),
        more_rows=max(0, len(diff.rows) - MAX_ROWS) if diff else 0,
    )


def _story(task: Task, result: Result, results: Sequence[Result]) -> str:
    values = (value_of(other, "score") for other in results)
    scores = ", ".join("none" if value is None else f"{value:.2f}" for value in values)
    episode = result.episode
    return (
        f"{task.id} · trial {result.trial}: {ending(result)} · "
        f"{counted(episode.subagents, 'subagent')}, {counted(episode.searches, 'search')}, "
        f"{counted(episode.accesses, 'page read', 'pages read')}, {episode.seconds:.0f} s · "
        f"scores {scores}"
    )
