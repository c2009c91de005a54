"""Rollouts of many tasks at bounded concurrency, each scored as it ends."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wideseek_core import ConfigError, Episode, Judge, JudgeError, PolicyUnavailable, Task
from wideseek_core.counting import counted
from wideseek_core.exception_groups import ungrouped
from wideseek_core.rollouts import attempt, score_answer, score_episode, unscored
from wideseek_eval.runs.results import Result, RunEpisode, result_of
from wideseek_eval.statistics.summary import Summary, summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One rollout to do."""

    task: Task
    trial: int
    stored: Result | None = None
    """A rollout that was done before and only needs a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How rollouts are run."""

    max_concurrent: int = 8
    give_up_after: int = 32
    """Stop when this many rollouts broke in a row and none was ever completed; 0 never stops."""


OnResult = Callable[[Result, Episode | None], None]
"""Called with each rollout as it ends; the episode is None if only its score is new."""


async def evaluate(
    tasks: Sequence[Task],
    run_episode: RunEpisode,
    judge: Judge,
    *,
    trials: int = 1,
    max_concurrent: int = 8,
) -> Summary:
    """Means and intervals over `trials` rollouts of each task, kept in memory only.

    Raises `JudgeError` if the judge can't score at all, `PolicyUnavailable` if no rollout is
    completed.
    """
    results: list[Result] = []
    jobs = [Job(task=task, trial=trial) for trial in range(trials) for task in tasks]

    def keep(result: Result, _: Episode | None) -> None:
        results.append(result)

    await run_jobs(jobs, run_episode, judge, keep, Pace(max_concurrent=max_concurrent))
    return summarize(results)


async def run_jobs(
    jobs: Iterable[Job], run_episode: RunEpisode, judge: Judge, on_result: OnResult, pace: Pace
) -> None:
    """Runs and scores every job; `on_result` gets each as it ends.

    A `JudgeError` stops the run after the answer was recorded as unscored.
    """
    if pace.max_concurrent < 1:
        raise ConfigError(f"max_concurrent must be at least 1 (got {pace.max_concurrent})")
    waiting = iter(jobs)
    ends: Counter[str] = Counter()

    async def work() -> None:
        # Workers share one iterator: a job that has not begun belongs to nobody.
        for job in waiting:
            if job.stored is not None:
                await _score_again(job.task, job.stored, judge, on_result)
                continue
            episode = await attempt(job.task, job.trial, run_episode(job.task, job.trial))
            ends["broken" if episode.error else "completed"] += 1
            if episode.error:
                on_result(result_of(job.task, episode, None), episode)
                _give_up(ends, pace, episode.error)
            else:
                await _score(job.task, episode, judge, on_result)

    with ungrouped():
        async with asyncio.TaskGroup() as group:
            for _ in range(pace.max_concurrent):
                group.create_task(work())


async def _score(task: Task, episode: Episode, judge: Judge, on_result: OnResult) -> None:
    try:
        score = await score_episode(judge, task, episode)
    except JudgeError as error:
        # The rollout is kept: it can be judged later.
        on_result(result_of(task, episode, unscored(task, str(error))), episode)
        raise
    on_result(result_of(task, episode, score), episode)


async def _score_again(task: Task, stored: Result, judge: Judge, on_result: OnResult) -> None:
    score = await score_answer(judge, task, stored.answer, stored.episode.status)
    on_result(stored.model_copy(update={"score": score}), None)


def _give_up(ends: Counter[str], pace: Pace, error: str) -> None:
    if ends["completed"] == 0 and ends["broken"] == pace.give_up_after > 0:
        raise PolicyUnavailable(
            f"of the first {counted(ends['broken'], 'rollout')} all broke: {error}"
        )
