"""Groups of scored rollouts from plain callables: one that runs an episode, and a judge."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wideseek_core import Episode, Judge, Task
from wideseek_core.rollouts import attempt, score_episode
from wideseek_rl.rollout.sampler import rollout_seed
from wideseek_rl.rollout.scored import ScoredEpisode

RunEpisode = Callable[[Task, int, int], Awaitable[Episode]]
"""Runs one rollout: `await run_episode(task, trial, seed)`."""


class RolloutSource(Protocol):
    """Where the training loop gets its rollouts."""

    async def collect(self, tasks: Sequence[Task], step: int) -> list[list[ScoredEpisode]]:
        """The scored rollouts of each task, in the order of the tasks.

        Rollouts that failed are among them, with their `error`; the loop leaves them out.
        """
        ...


class Rollouts:
    """Runs the rollouts of a step concurrently, at most `max_concurrent` at a time.

    A rollout frees its slot before it is judged, so that generation never waits for the judge.
    `on_scored` is called with each rollout as it is done.
    """

    def __init__(
        self,
        run_episode: RunEpisode,
        judge: Judge,
        *,
        group_size: int,
        max_concurrent: int = 64,
        seed: int = 0,
        on_scored: Callable[[ScoredEpisode], None] | None = None,
    ) -> None:
        self._run, self._judge = run_episode, judge
        self._group_size, self._seed = group_size, seed
        self._slots = asyncio.Semaphore(max_concurrent)
        self._on_scored = on_scored

    async def collect(self, tasks: Sequence[Task], step: int) -> list[list[ScoredEpisode]]:
        """`group_size` rollouts of each task. Raises `JudgeError` if nothing can be judged.

        A task that occurs twice, as at the end of an epoch, numbers its trials consecutively.
        """
        trials: Counter[str] = Counter()
        pending: list[list[asyncio.Task[ScoredEpisode]]] = []
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                first = trials[task.id]
                trials[task.id] = last = first + self._group_size
                pending.append(
                    [group.create_task(self._rollout(task, n, step)) for n in range(first, last)]
                )
        return [[rollout.result() for rollout in rollouts] for rollouts in pending]

    async def _rollout(self, task: Task, trial: int, step: int) -> ScoredEpisode:
        seed = rollout_seed(self._seed, step, task.id, trial)
        async with self._slots:
            episode = await attempt(task, trial, self._run(task, trial, seed))
        score = await score_episode(self._judge, task, episode)
        scored = ScoredEpisode(episode=episode, score=score)
        if self._on_scored is not None:
            self._on_scored(scored)
        return scored
