"""One update of the weights and its way to the engine, which may fail separately."""

import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace

from wideseek_core import RanksLost
from wideseek_core.exception_groups import ungrouped
from wideseek_rl.algorithm.step_batch import StepBatch
from wideseek_rl.loop.left_out import warn_unchanged
from wideseek_rl.sync.protocol import WeightSync
from wideseek_rl.trainers.protocol import NO_UPDATE, Trainer, UpdateMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an update that was made."""

    update: UpdateMetrics
    trained: float
    """When the training was over, by the monotonic clock."""
    problem: Exception | None = None
    """Why the engine has not got the weights; the run can't continue then."""


async def train_and_publish(
    trainer: Trainer,
    sync: WeightSync,
    batch: StepBatch,
    *,
    version: int,
    unchanged: AbstractAsyncContextManager[None],
) -> Outcome:
    """Trains on a batch and brings the weights to the engine as `version`.

    `unchanged` is entered around the training and what comes before it. Raises what that raises,
    and `RanksLost`, which leaves no weights.
    """
    if not batch.samples:
        return Outcome(update=NO_UPDATE, trained=time.monotonic())
    made: Outcome | None = None
    try:
        with ungrouped():
            async with AsyncExitStack() as stack:
                async with unchanged:
                    commit = await stack.enter_async_context(sync.updating())
                    update = await trainer.update(batch.samples)
                made = Outcome(update=update, trained=time.monotonic())
                if update.updates:
                    commit(version)
                else:
                    warn_unchanged(update, len(batch.samples))
        return made
    except RanksLost:
        raise
    except Exception as error:  # whatever failed, the weights are those of the update
        if made is None:
            raise
        return replace(made, problem=error)
