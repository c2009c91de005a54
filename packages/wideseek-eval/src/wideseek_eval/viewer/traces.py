"""What the viewer shows of a run: a line for every rollout, and its episode in detail."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from wideseek_core import DataError, Episode, Score, TableGold, TableMetrics, Task
from wideseek_core.episode_records import EpisodeRecord, read_episodes
from wideseek_core.tasks import Record
from wideseek_core.token_records import TurnTokens, read_token_records
from wideseek_eval.reports.diff import TableDiff, diff_tables
from wideseek_eval.runs.find import find_run
from wideseek_eval.runs.folder import Key, RunFolder
from wideseek_eval.runs.results import Result, summarize_episode
from wideseek_eval.runs.traced import episodes_of, number_of, step_files
from wideseek_eval.statistics.breakdown import ending


class Line(Record):
    """One rollout in the table of all of them."""

    task_id: str
    trial: int
    step: int | None = None
    """The training step; null in an evaluation."""
    question: str
    language: str
    source: str
    ending: str
    """What went right or wrong, in a few words."""
    score: float | None
    """Null without a verdict."""
    reward: float | None = None
    subagents: int
    turns: int
    searches: int
    accesses: int
    tokens: int
    seconds: float


class Detail(Record):
    """Everything about one rollout."""

    episode: Episode | None
    """Null if the run kept no episodes."""
    answer: str
    error: str = ""
    message: str = ""
    """What the judge said."""
    metrics: dict[str, JsonValue]
    diff: TableDiff | None = None
    """The answer beside its reference, cell by cell."""
    reference: tuple[str, ...] = ()
    """The right short answers."""
    tokens: tuple[TurnTokens, ...] = ()
    """What training made of the tokens, of rollouts that have a record of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One rollout."""

    line: Line
    detail: Detail


def read_traces(name: str, steps: Collection[int] = ()) -> Iterator[Trace]:
    """The rollouts of an evaluation, or of a training run's steps: of all, or of the given ones.

    Raises `DataError` if a folder is neither, or has none of the steps.
    """
    found = step_files(name)
    if found:
        chosen = [path for path in found if not steps or number_of(path) in steps]
        if not chosen:
            raise DataError(
                f"{name}: no such steps; it has {number_of(found[0])} to {number_of(found[-1])}"
            )
        for path in chosen:
            tokens = _tokens(path.parent.parent / "tokens" / path.name)
            for record in read_episodes(path):
                key = record.episode.task_id, record.episode.trial
                yield _of_training(record, tokens.get(key, ()))
        return
    if steps:
        raise DataError(f"{name} has no training steps")
    named = find_run(name)
    run = named.load()
    episodes = episodes_of(RunFolder(path=named.path).episodes)
    if not run.results:
        raise DataError(f"{name}: no rollout has ended yet")
    for result in run.results:
        episode = episodes.get((result.task_id, result.trial))
        yield _of_evaluation(run.tasks[result.task_id], result, episode)


def _tokens(path: Path) -> dict[Key, tuple[TurnTokens, ...]]:
    if not path.exists():
        return {}
    return {(record.task_id, record.trial): record.turns for record in read_token_records(path)}


def _of_evaluation(task: Task, result: Result, episode: Episode | None) -> Trace:
    detail = Detail(
        episode=episode,
        answer=result.answer,
        error=result.episode.error,
        message="" if result.score is None else result.score.message,
        metrics=_metrics(result.score),
        diff=_diff(task, result),
        reference=() if isinstance(task.gold, TableGold) else task.gold.answers,
    )
    return Trace(line=_line(result, task.question, None, None), detail=detail)


def _of_training(record: EpisodeRecord, tokens: tuple[TurnTokens, ...]) -> Trace:
    episode, score = record.episode, record.score
    kind = "table" if score is None or isinstance(score.metrics, TableMetrics) else "text"
    result = Result(
        task_id=episode.task_id,
        trial=episode.trial,
        kind=kind,
        source=record.source,
        answer=episode.answer,
        score=None if episode.error else score,
        episode=summarize_episode(episode),
    )
    question = episode.main.prompt if episode.trajectories else ""
    detail = Detail(
        episode=episode,
        answer=episode.answer,
        error=episode.error,
        message="" if score is None else score.message,
        metrics=_metrics(score),
        diff=_diff_of_cells(score, episode.answer),
        tokens=tokens,
    )
    return Trace(line=_line(result, question, record.step, record.reward), detail=detail)


def _line(result: Result, question: str, step: int | None, reward: float | None) -> Line:
    counted = result.score is not None and result.outcome != "unscored"
    episode = result.episode
    return Line(
        task_id=result.task_id,
        trial=result.trial,
        step=step,
        question=question,
        language=result.language,
        source=result.source,
        ending=ending(result),
        score=result.score.value if result.score is not None and counted else None,
        reward=reward,
        subagents=episode.subagents,
        turns=episode.lead_turns + episode.subagent_turns,
        searches=episode.searches,
        accesses=episode.accesses,
        tokens=episode.prompt_tokens + episode.response_tokens,
        seconds=episode.seconds,
    )


def _metrics(score: Score | None) -> dict[str, JsonValue]:
    return {} if score is None else score.metrics.model_dump(mode="json", exclude={"kind"})


def _diff(task: Task, result: Result) -> TableDiff | None:
    if not isinstance(task.gold, TableGold) or result.score is None:
        return None
    return diff_tables(task.gold, result.answer, result.score)


def _diff_of_cells(score: Score | None, answer: str) -> TableDiff | None:
    """What the verdict tells of the tables: a training run does not keep its references."""
    if score is None or not score.cells:
        return None
    columns = tuple(dict.fromkeys(cell.column for cell in score.cells))
    keys = tuple(dict.fromkeys(cell.column for cell in score.cells if cell.by == "key"))
    gold = TableGold(text="", key_columns=keys or columns[:1], required_columns=columns)
    return diff_tables(gold, answer, score)
