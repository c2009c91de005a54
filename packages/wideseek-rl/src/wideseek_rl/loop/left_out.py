"""What a step left out, and why it changed nothing: for the log, and for the end of a run."""

import logging

from wideseek_core import TrainError
from wideseek_core.counting import counted
from wideseek_rl.algorithm.step_batch import StepBatch
from wideseek_rl.trainers.protocol import UpdateMetrics

MAX_EMPTY_STEPS = 3
"""Steps in a row that may lose all their rollouts."""

logger = logging.getLogger(__name__)


def checked(batch: StepBatch, empty_steps: int) -> int:
    """Reports what was left out; how many steps in a row, with this one, had nothing to use.

    Raises `TrainError` if there were too many of them.
    """
    for what, counts in (("rollouts dropped", batch.dropped), ("parts masked", batch.masked)):
        if counts:
            reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
            logger.warning("%s: %s", what, reasons)
    empty_steps = 0 if batch.prompts else empty_steps + 1
    if empty_steps >= MAX_EMPTY_STEPS:
        raise TrainError(f"no rollout could be used in {counted(empty_steps, 'step')} in a row")
    return empty_steps


def warn_unchanged(update: UpdateMetrics, samples: int) -> None:
    """Says why the samples of a step have changed no weights."""
    logger.warning(
        "the weights stay as they are: of %s %d without gradient; tokens masked: %d; "
        "updates left out: %d",
        counted(samples, "sample"),
        update.zero_advantage_samples or 0,
        update.masked_tokens or 0,
        (update.skipped or 0) + (update.stopped or 0),
    )
