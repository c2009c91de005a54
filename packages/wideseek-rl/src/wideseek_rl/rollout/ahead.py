"""Rollouts that run ahead of training, with bounded staleness."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from wideseek_rl.rollout.group_files import write_groups
from wideseek_rl.rollout.progress import PromptLedger, PromptProgress
from wideseek_rl.rollout.runner import Group, RolloutSource, run_group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.rollout.schedule_config import AsyncScheduleConfig


class AsyncSchedule:
    """See `AsyncScheduleConfig`. A `Schedule`.

    With k groups a step and staleness m, at most (m + 1)·k groups are open, and steps train on them
    in the order of their prompts. So a step has the prompts that it would have if it were
    synchronous, and they began at most m steps before: until then there was no slot for them.
    Taking the groups that are complete first would be quicker while a run begins and many groups
    begin together, but then the first updates would learn from the shortest ones.

    New groups begin with the weights of an update and not while it is made: those that began before
    it would be due a step earlier, and (m + 1)·k groups can't be trained on in m steps.
    """

    def __init__(
        self,
        config: AsyncScheduleConfig,
        rollouts: RolloutSource,
        sampler: PromptSampler,
        ledger: PromptLedger,
        *,
        finished: Mapping[int, Group],
    ) -> None:
        self._slots = (config.max_staleness + 1) * sampler.per_step
        self._rollouts, self._sampler, self._ledger = rollouts, sampler, ledger
        self._running: dict[asyncio.Task[Group], int] = {}
        self._finished = dict(finished)
        self._open = sorted(finished)
        self._positions: list[int] = []

    async def collect(self, step: int) -> list[Group]:
        """The groups of the next prompts, once all of them are complete."""
        self._admit()
        self._positions = self._open[: self._sampler.per_step]
        while not self._finished.keys() >= set(self._positions):
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._finished[self._running.pop(task)] = task.result()
        return [self._finished.pop(position) for position in self._positions]

    @property
    def unused_tokens(self) -> int:
        """No group is given up."""
        return 0

    def trained(self, *, published: bool) -> None:
        """The groups of the last `collect` are done with; others begin in their slots.

        They have the weights of the next step, which need not be reported and saved before. Where
        the engine has not got those, nothing begins: it would be staler than it may be.
        """
        self._ledger.trained(self._positions)
        del self._open[: len(self._positions)]
        self._positions = []
        if published:
            self._admit()

    @property
    def progress(self) -> PromptProgress:
        """What a checkpoint keeps: of the groups that are complete by now the rollouts, too."""
        for task in [task for task in self._running if _succeeded(task)]:
            self._finished[self._running.pop(task)] = task.result()
        return self._ledger.progress(self._finished)

    def save(self, folder: Path) -> None:
        """Writes the groups that were complete and not trained on when `progress` was asked for."""
        write_groups(folder, self._finished)

    async def close(self) -> None:
        """Cancels what is being sampled."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    def _admit(self) -> None:
        """Begins as many groups as there are free slots."""
        begun = self._ledger.take(self._slots - len(self._open))
        self._open = sorted([*self._open, *begun])
        for position in begun:
            group = run_group(self._rollouts, self._sampler, position)
            self._running[asyncio.ensure_future(group)] = position


def _succeeded(task: asyncio.Task[Group]) -> bool:
    """Whether a task has a result; what one that failed raises is left to `collect`."""
    return task.done() and not task.cancelled() and task.exception() is None
