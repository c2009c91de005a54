"""Tail batching: on-policy steps that do not wait for the slowest prompts.

A prompt that is sampled again has the same seeds, which depend on its position alone: what is
trained on does not prefer rollouts that happened to be short.
"""

import asyncio
import math
from pathlib import Path

from wideseek_core.usage import UsageWatch, agents_tokens, watched_usage
from wideseek_rl.rollout.progress import PromptLedger, PromptProgress
from wideseek_rl.rollout.runner import Group, RolloutSource, run_group
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.rollout.schedule_config import TailScheduleConfig


class TailSchedule:
    """See `TailScheduleConfig`. A `Schedule`."""

    def __init__(
        self,
        config: TailScheduleConfig,
        rollouts: RolloutSource,
        sampler: PromptSampler,
        ledger: PromptLedger,
    ) -> None:
        self._rollouts, self._sampler, self._ledger = rollouts, sampler, ledger
        self._extra = math.ceil(config.extra * sampler.per_step)
        self._positions: list[int] = []
        self._unused = 0

    async def collect(self, step: int) -> list[Group]:
        """The first complete groups, or in a long step all of those left over."""
        wanted = min(self._sampler.per_step, self._ledger.left)
        if self._ledger.waiting >= wanted or self._ledger.left - self._ledger.waiting < wanted:
            positions = self._ledger.take(wanted)
        else:
            positions = self._ledger.take_new(wanted + self._extra)
        groups = await self._first(positions, wanted)
        self._ledger.give_back(set(positions) - set(groups))
        self._positions = sorted(groups)
        return [groups[position] for position in self._positions]

    @property
    def unused_tokens(self) -> int:
        """Those of turns that had ended: servers don't say how far the others were."""
        return self._unused

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

    async def _first(self, positions: list[int], wanted: int) -> dict[int, Group]:
        """The `wanted` groups that are complete first; the others are cancelled."""
        watches = {position: UsageWatch() for position in positions}
        running = {asyncio.ensure_future(self._group(p, watches[p])): p for p in positions}
        groups: dict[int, Group] = {}
        try:
            while len(groups) < wanted:
                pending = [task for task, position in running.items() if position not in groups]
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=running.__getitem__)[: wanted - len(groups)]:
                    groups[running[task]] = task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        given_up = [watches[position] for position in positions if position not in groups]
        self._unused = sum(agents_tokens(watch.usage()) for watch in given_up)
        return groups

    async def _group(self, position: int, watch: UsageWatch) -> Group:
        with watched_usage(watch):
            return await run_group(self._rollouts, self._sampler, position)
