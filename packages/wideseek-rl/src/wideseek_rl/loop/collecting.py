"""What a step trains on: its groups as a batch, checked, and how long they took."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wideseek_core import TrainError
from wideseek_core.counting import counted
from wideseek_rl.algorithm.protocol import Algorithm
from wideseek_rl.algorithm.step_batch import StepBatch, build_step_batch
from wideseek_rl.loop.left_out import checked
from wideseek_rl.rollout.duplicates import Duplicates, count_duplicates
from wideseek_rl.rollout.runner import Group
from wideseek_rl.rollout.schedule import Schedule

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The groups of a step, and what is made of them."""

    groups: Sequence[Group]
    batch: StepBatch
    duplicates: Duplicates
    unused_tokens: int
    """Generated for groups that were given up."""
    empty_steps: int
    """Steps in a row, with this one, that had no usable rollout."""
    started: float
    """When the step began, by the monotonic clock."""
    ended: float
    """When its groups were there."""


async def collect(
    schedule: Schedule,
    algorithm: Algorithm,
    step: int,
    *,
    empty_steps: int,
    on_duplicates: Literal["warn", "end"],
) -> Collected:
    """Waits for the groups of a step, counted from 0; `empty_steps` came before it.

    Raises what the schedule does, and `TrainError` for rollouts that nothing can be trained on.
    """
    started = time.monotonic()
    groups = await schedule.collect(step)
    ended = time.monotonic()
    duplicates = _check_independent(groups, on_duplicates)
    batch = build_step_batch(groups, algorithm)
    return Collected(
        groups=groups,
        batch=batch,
        duplicates=duplicates,
        unused_tokens=schedule.unused_tokens,
        empty_steps=checked(batch, empty_steps),
        started=started,
        ended=ended,
    )


def _check_independent(
    groups: Sequence[Group], on_duplicates: Literal["warn", "end"]
) -> Duplicates:
    """Raises `TrainError`, or warns, if rollouts of a prompt are copies of each other."""
    found = count_duplicates(groups)
    if found.suspicious:
        problem = (
            f"the rollouts of a prompt are not independent: {found.equal} of "
            f"{counted(found.pairs, 'pair')} begin with the same response, where "
            f"{found.expected:.2g} are likely; does "
            "the engine use the seed of each request?"
        )
        if on_duplicates == "end":
            raise TrainError(problem)
        logger.warning("%s", problem)
    return found
