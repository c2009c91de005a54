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

    With k groups a step and staleness m, a group that began in step b has to be trained on in step
    b + m at the latest, and at most (m + 1)·k groups are open. A step takes the complete groups of
    the earliest deadlines, and waits as long as what it leaves could not meet its deadlines with k
    groups a step. By induction a step that waits for all groups always can.

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
        finished: Mapping[int, tuple[int, Group]],
    ) -> None:
        self._max_staleness = config.max_staleness
        self._rollouts, self._sampler, self._ledger = rollouts, sampler, ledger
        self._running: dict[asyncio.Task[Group], int] = {}
        self._began = {position: step for position, (step, _) in finished.items()}
        self._finished = {position: group for position, (_, group) in finished.items()}
        self._positions: list[int] = []
        self._step = 0

    async def collect(self, step: int) -> list[Group]:
        """The complete groups of the earliest deadlines, once the others can meet theirs."""
        self._step = step
        self._admit(step)
        while (chosen := self._chosen(step)) is None:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._finished[self._running.pop(task)] = task.result()
        self._positions = sorted(chosen)
        groups = [self._finished.pop(position) for position in self._positions]
        for position in self._positions:
            del self._began[position]
        return groups

    def trained(self) -> None:
        """The groups of the last `collect` are done with; others begin in their slots.

        They are of the next step: it has these weights, and need not be reported and saved before.
        """
        self._ledger.trained(self._positions)
        self._positions = []
        self._admit(self._step + 1)

    @property
    def progress(self) -> PromptProgress:
        """What a checkpoint keeps."""
        return self._ledger.progress({p: self._began[p] for p in self._finished})

    def save(self, folder: Path) -> None:
        """Writes the groups that are complete and not trained on."""
        write_groups(folder, self._finished)

    async def close(self) -> None:
        """Cancels what is being sampled."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    def _chosen(self, step: int) -> list[int] | None:
        """The positions that a step takes; None if it has to wait for more groups."""
        per_step = self._sampler.per_step
        wanted = min(per_step, len(self._began))
        ordered = sorted(self._finished, key=lambda position: (self._began[position], position))
        chosen = ordered[:wanted]
        left = [began for position, began in self._began.items() if position not in set(chosen)]
        on_time = all(
            sum(began + self._max_staleness <= step + ahead for began in left) <= per_step * ahead
            for ahead in range(self._max_staleness + 1)
        )
        return chosen if on_time and len(chosen) == wanted else None

    def _admit(self, step: int) -> None:
        """Begins as many groups as there are free slots."""
        slots = (self._max_staleness + 1) * self._sampler.per_step
        for position in self._ledger.take(slots - len(self._began)):
            self._began[position] = step
            group = run_group(self._rollouts, self._sampler, position)
            self._running[asyncio.ensure_future(group)] = position
