"""Dynamic sampling: steps that replace prompts whose rollouts teach nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from wideseek_rl.rollout.progress import PromptLedger, PromptProgress
from wideseek_rl.rollout.runner import Group, RolloutSource, run_group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.rollout.schedule_config import DynamicScheduleConfig


class DynamicSchedule:
    """See `DynamicScheduleConfig`. A `Schedule`.

    Groups without signal are returned with the others, so that metrics count them; it is the
    algorithm that leaves them out.
    """

    def __init__(
        self,
        config: DynamicScheduleConfig,
        rollouts: RolloutSource,
        sampler: PromptSampler,
        ledger: PromptLedger,
        *,
        has_signal: Callable[[Group], bool],
    ) -> None:
        self._rounds = config.max_rounds
        self._rollouts, self._sampler, self._ledger = rollouts, sampler, ledger
        self._has_signal = has_signal
        self._positions: list[int] = []

    async def collect(self, step: int) -> list[Group]:
        """All groups that were sampled, as many of them with signal as a step trains on."""
        groups: list[Group] = []
        missing = self._sampler.per_step
        for _ in range(self._rounds):
            positions = self._ledger.take(missing)
            self._positions += positions
            found = await self._sampled(positions)
            groups += found
            missing -= sum(map(self._has_signal, found))
            if not missing:
                break
        return groups

    @property
    def unused_tokens(self) -> int:
        """No group is given up."""
        return 0

    async def _sampled(self, positions: list[int]) -> list[Group]:
        """The groups of some positions; if one can't be had, the others are given up."""
        running = [
            asyncio.ensure_future(run_group(self._rollouts, self._sampler, position))
            for position in positions
        ]
        try:
            return await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def trained(self, *, published: bool) -> None:
        """The groups of the last `collect` are done with."""
        self._ledger.trained(self._positions)
        self._positions = []

    @property
    def progress(self) -> PromptProgress:
        """What a checkpoint keeps."""
        return self._ledger.progress()

    def save(self, folder: Path) -> None:
        """Nothing is sampled ahead."""

    async def close(self) -> None:
        """Nothing runs between steps."""
