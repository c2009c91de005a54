"""Groups of scored rollouts from plain callables: one that runs an episode, and a judge."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from wideseek_core import Episode, Judge, Task
from wideseek_core.episodes import Usage
from wideseek_core.rollouts import attempt, broken_episode, score_episode
from wideseek_core.usage import generated_tokens, report_usage, watched_usage
from wideseek_rl.rollout.sampler import PromptSampler, rollout_seed
from wideseek_rl.rollout.scored import ScoredEpisode

logger = logging.getLogger(__name__)

Group = list[ScoredEpisode]
"""The scored rollouts of one prompt."""

RunEpisode = Callable[[Task, int, int], Awaitable[Episode]]
"""Runs one rollout: `await run_episode(task, trial, seed)`."""


class RolloutSource(Protocol):
    """Where the training loop gets its rollouts."""

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        """The scored rollouts of each task, in the order of the tasks.

        `step` decides the seeds, with the task. May be called while other calls wait.

        Rollouts that failed are among them, with their `error`; the loop leaves them out.
        """
        ...


async def run_group(rollouts: RolloutSource, sampler: PromptSampler, position: int) -> Group:
    """The rollouts of the prompt at a position, with seeds that depend on it alone.

    Trials are numbered over the epochs: a task may come twice in a step.
    """
    (group,) = await rollouts.collect([sampler.task(position)], position)
    first = sampler.epoch(position) * len(group)
    return [
        replace(scored, episode=replace(scored.episode, trial=first + scored.episode.trial))
        for scored in group
    ]


@dataclass(slots=True)
class _Deadline:
    """When the rollouts of one group have to be done; counted from the first one's beginning."""

    seconds: float | None
    at: float | None = None

    def left(self) -> float | None:
        """Seconds that are left; None for no deadline."""
        if self.seconds is None:
            return None
        now = asyncio.get_running_loop().time()
        if self.at is None:
            self.at = now + self.seconds
        return self.at - now


class Rollouts:
    """Runs the rollouts of a step concurrently, at most `max_concurrent` at a time.

    A rollout frees its slot before it is judged, so that generation never waits for the judge. One
    that is not done `rollout_deadline_s` after its beginning, or `group_deadline_s` after that of
    its group's first, fails, and the group trains without it; its episode has what it has spent by
    then. `on_scored` is called with each rollout as it is done.
    """

    def __init__(
        self,
        run_episode: RunEpisode,
        judge: Judge,
        *,
        group_size: int,
        max_concurrent: int = 64,
        seed: int = 0,
        rollout_deadline_s: float | None = None,
        group_deadline_s: float | None = None,
        on_scored: Callable[[ScoredEpisode], None] | None = None,
    ) -> None:
        self._rollout_deadline_s, self._group_deadline_s = rollout_deadline_s, group_deadline_s
        self._run, self._judge = run_episode, judge
        self._group_size, self._seed = group_size, seed
        self._slots = asyncio.Semaphore(max_concurrent)
        self._on_scored = on_scored

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        """`group_size` rollouts of each task. Raises `JudgeError` if nothing can be judged.

        A task that occurs twice, as at the end of an epoch, numbers its trials consecutively.
        """
        trials: Counter[str] = Counter()
        pending: list[list[asyncio.Task[ScoredEpisode]]] = []
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                first = trials[task.id]
                trials[task.id] = last = first + self._group_size
                deadline = _Deadline(self._group_deadline_s)
                pending.append(
                    [
                        group.create_task(self._rollout(task, n, step, deadline))
                        for n in range(first, last)
                    ]
                )
        return [[rollout.result() for rollout in rollouts] for rollouts in pending]

    async def _rollout(
        self, task: Task, trial: int, step: int, deadline: _Deadline
    ) -> ScoredEpisode:
        seed = rollout_seed(self._seed, step, task.id, trial)
        async with self._slots:
            limits = [self._rollout_deadline_s, deadline.left()]
            seconds = min((limit for limit in limits if limit is not None), default=None)
            with watched_usage() as watch:
                episode = await self._episode(task, trial, seed, seconds)
        if not watch.reports:  # it says what it has spent in the end alone
            spent = (_spent(episode),)
            report_usage(lambda: spent)
        elif not episode.trajectories and not episode.usage:
            episode = replace(episode, usage=watch.usage())
        score = await score_episode(self._judge, task, episode)
        scored = ScoredEpisode(episode=episode, score=score, source=task.source)
        if self._on_scored is not None:
            self._on_scored(scored)
        return scored

    async def _episode(self, task: Task, trial: int, seed: int, seconds: float | None) -> Episode:
        """A rollout that may take so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await attempt(task, trial, self._run(task, trial, seed))
        except TimeoutError:
            reason = "the rollout missed its deadline"
            logger.warning("%s, trial %d: %s", task.id, trial, reason)
            return broken_episode(task, trial, reason)


def _spent(episode: Episode) -> Usage:
    """The tokens of an episode, in one sum: whose they are does not matter where they are lost."""
    return Usage(role="lead", model="", response_tokens=generated_tokens(episode))
