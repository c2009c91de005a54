"""Rollouts of many tasks at bounded concurrency, each scored as it ends."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from wideseek_core import (
    ConfigError,
    Episode,
    Judge,
    JudgeError,
    PolicyError,
    PolicyUnavailable,
    Score,
    ScoreState,
    TableMetrics,
    Task,
    TextMetrics,
    ToolError,
    WideSeekError,
)
from wideseek_eval.records import Result, RunEpisode, empty_episode, result_of
from wideseek_eval.summary import Summary, summarise

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One rollout to do."""

    task: Task
    trial: int
    stored: Result | None = None
    """A rollout that was done before and only wants a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How rollouts are run."""

    concurrency: int = 8
    give_up_after: int = 32
    """Stop when this many rollouts broke in a row and none ever came through; 0 never stops."""


OnResult = Callable[[Result, Episode | None], None]
"""Told of each rollout as it ends; the episode is None if only its score is new."""


async def evaluate(
    tasks: Sequence[Task],
    run_episode: RunEpisode,
    judge: Judge,
    *,
    trials: int = 1,
    concurrency: int = 8,
) -> Summary:
    """Means and intervals over `trials` rollouts of each task, kept in memory only.

    Raises `JudgeError` if the judge can't score at all, `PolicyUnavailable` if no rollout comes
    through.
    """
    results: list[Result] = []
    jobs = [Job(task=task, trial=trial) for trial in range(trials) for task in tasks]

    def keep(result: Result, _: Episode | None) -> None:
        results.append(result)

    await run_jobs(jobs, run_episode, judge, keep, Pace(concurrency=concurrency))
    return summarise(results)


async def run_jobs(
    jobs: Iterable[Job], run_episode: RunEpisode, judge: Judge, on_result: OnResult, pace: Pace
) -> None:
    """Runs and scores every job; `on_result` gets each as it ends.

    A `JudgeError` stops the run after the answer was handed on as unscored.
    """
    if pace.concurrency < 1:
        raise ConfigError(f"concurrency must be at least 1 (got {pace.concurrency})")
    waiting = iter(jobs)
    ends: Counter[str] = Counter()

    async def work() -> None:
        # Workers share one iterator: a job that is not begun belongs to nobody.
        for job in waiting:
            if job.stored is not None:
                await _score_again(job.task, job.stored, judge, on_result)
                continue
            episode = await attempt(job, run_episode)
            ends["broken" if episode.error else "whole"] += 1
            if episode.error:
                on_result(result_of(job.task, episode, None), episode)
                _give_up(ends, pace, episode.error)
            else:
                await _score(job.task, episode, judge, on_result)

    with first_known_error():
        async with asyncio.TaskGroup() as group:
            for _ in range(pace.concurrency):
                group.create_task(work())


@contextmanager
def first_known_error() -> Generator[None]:
    """Raises a task group's first error of ours bare, if the group holds nothing else."""
    try:
        yield
    except ExceptionGroup as group:
        known, rest = group.split((WideSeekError, OSError))
        if rest is not None or known is None:
            raise
        raise known.exceptions[0] from None


async def attempt(job: Job, run_episode: RunEpisode) -> Episode:
    """One rollout; a service that fails leaves an episode that says so."""
    try:
        return await run_episode(job.task, job.trial)
    except (PolicyError, ToolError, JudgeError) as error:
        reason = f"{type(error).__name__}: {error}"
        logger.warning("%s, trial %d: %s", job.task.id, job.trial, reason)
        return empty_episode(job.task, job.trial, reason)


async def _score(task: Task, episode: Episode, judge: Judge, on_result: OnResult) -> None:
    try:
        score = await judge.score(task, episode.answer)
    except JudgeError as error:
        # The rollout is kept: it can be judged later.
        on_result(result_of(task, episode, unscored(task, str(error))), episode)
        raise
    on_result(result_of(task, episode, score), episode)


async def _score_again(task: Task, stored: Result, judge: Judge, on_result: OnResult) -> None:
    score = await judge.score(task, stored.answer)
    on_result(stored.model_copy(update={"score": score}), None)


def unscored(task: Task, reason: str) -> Score:
    """The score of an answer that no judge has judged."""
    metrics = TableMetrics() if task.gold.kind == "table" else TextMetrics()
    return Score(state=ScoreState.UNSCORED, metrics=metrics, message=reason)


def _give_up(ends: Counter[str], pace: Pace, error: str) -> None:
    if ends["whole"] == 0 and ends["broken"] == pace.give_up_after > 0:
        raise PolicyUnavailable(f"the first {ends['broken']} rollouts all broke: {error}")
