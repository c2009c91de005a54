"""The interface of schedules, the synchronous one, and how they are opened.

Schedules of installed distributions are `Plugin` entry points of `wideseek.schedules`: `open` takes
the configuration and a `ScheduleInputs`, and returns a `Schedule`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wideseek_core import Config
from wideseek_core.plugins import opener
from wideseek_rl.rollout.ahead import AsyncSchedule
from wideseek_rl.rollout.dynamic import DynamicSchedule
from wideseek_rl.rollout.group_files import read_groups
from wideseek_rl.rollout.progress import PromptLedger, PromptProgress
from wideseek_rl.rollout.runner import Group, RolloutSource
from wideseek_rl.rollout.sampler import PromptSampler
from wideseek_rl.rollout.schedule_config import (
    SCHEDULES,
    AsyncScheduleConfig,
    DynamicScheduleConfig,
    SyncScheduleConfig,
    TailScheduleConfig,
)
from wideseek_rl.rollout.tail import TailSchedule


class Schedule(Protocol):
    """Decides which groups a step trains on, and what is sampled meanwhile."""

    async def collect(self, step: int) -> list[Group]:
        """The groups that step trains on, counted from 0. Raises `JudgeError`."""
        ...

    @property
    def unused_tokens(self) -> int:
        """Tokens generated for groups that the last `collect` gave up, as far as is known."""
        ...

    def trained(self, *, published: bool) -> None:
        """Says that the groups of the last `collect` were trained on.

        Only where the new weights are `published`, in use, may other groups begin: else the run is
        about to end.
        """
        ...

    @property
    def progress(self) -> PromptProgress | None:
        """What a checkpoint keeps; None if everything follows from the step."""
        ...

    def save(self, folder: Path) -> None:
        """Writes groups that are complete and not trained on into a checkpoint."""
        ...

    async def close(self) -> None:
        """Cancels what is being sampled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInputs:
    """What a schedule is made from."""

    rollouts: RolloutSource
    sampler: PromptSampler
    steps: int
    """Steps of the whole run."""
    progress: PromptProgress
    """Where the run is."""
    checkpoint: Path | None
    """The checkpoint that the run resumes from."""
    has_signal: Callable[[Group], bool] = bool
    """Whether the rollouts of a prompt have something to teach."""


class SyncSchedule:
    """Samples all rollouts of a step, then lets it train on them. A `Schedule`."""

    def __init__(self, rollouts: RolloutSource, sampler: PromptSampler) -> None:
        self._rollouts, self._sampler = rollouts, sampler

    async def collect(self, step: int) -> list[Group]:
        """The rollouts of all prompts of the step."""
        return await self._rollouts.collect(self._sampler.at(step), step)

    @property
    def unused_tokens(self) -> int:
        """No group is given up."""
        return 0

    def trained(self, *, published: bool) -> None:
        """Nothing is sampled ahead."""

    @property
    def progress(self) -> PromptProgress | None:
        """The prompts follow from the step."""
        return None

    def save(self, folder: Path) -> None:
        """Nothing is sampled ahead."""

    async def close(self) -> None:
        """Nothing runs between steps."""


def open_schedule(config: Config, inputs: ScheduleInputs) -> Schedule:
    """The schedule of a configuration. Raises `ConfigError`, `CheckpointError`."""
    rollouts, sampler, progress = inputs.rollouts, inputs.sampler, inputs.progress
    ledger = PromptLedger(progress, inputs.steps * sampler.per_step)
    match config:
        case SyncScheduleConfig():
            return SyncSchedule(rollouts, sampler)
        case DynamicScheduleConfig():
            endless = PromptLedger(progress, sys.maxsize)
            signal = inputs.has_signal
            return DynamicSchedule(config, rollouts, sampler, endless, has_signal=signal)
        case TailScheduleConfig():
            return TailSchedule(config, rollouts, sampler, ledger)
        case AsyncScheduleConfig():
            finished = read_groups(inputs.checkpoint or Path(), progress.finished)
            return AsyncSchedule(config, rollouts, sampler, ledger, finished=finished)
        case _:
            return opener(SCHEDULES, config)(config, inputs)
