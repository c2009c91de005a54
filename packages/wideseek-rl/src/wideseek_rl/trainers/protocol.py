"""The interface between the training loop and what holds the weights.

A training sample carries all that is needed (ids, token weights, advantages, log-probs); the loop
knows nothing of tensors, ranks or optimizers, and a trainer nothing of prompts or rewards.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wideseek_rl.batch.samples import Floats, TrainingSample

if TYPE_CHECKING:
    from wideseek_rl.sync.source import WeightSource


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMetrics:
    """What one step of training did. Means run over trained tokens, of all updates of the step.

    None is what was not measured: because the trainer does not know it, the settings make it
    meaningless, or no token was trained. It is left out of the logs.
    """

    updates: int = 0
    """Optimizer steps made."""
    stopped: int | None = None
    """1 if the mean ratio passed its limit and the rest of the step was dropped."""
    skipped: int | None = None
    """Updates left out because their gradient was not finite."""
    samples: int | None = None
    """Samples with a gradient. They ran through the model, unless `stopped` is 1: then some may not
    have."""
    zero_advantage_samples: int | None = None
    """Samples without gradient (all advantages 0), which did not run."""
    masked_tokens: int | None = None
    """Tokens left out because a number of theirs was none, or their log-ratio out of bounds."""
    masked_samples: int | None = None
    """Samples that were left out whole. Where the model gives no log-probability for a token, the
    torch trainer leaves out the whole sample, NeMo-Aligner's the token alone."""
    dropped_tokens: int | None = None
    """Tokens of micro-batches that were left out because their mean ratio passed its limit."""
    tokens_trained: int | None = None
    tokens_run: int | None = None
    """Positions that ran through the model once per update, padding included, on all ranks."""
    loss: float | None = None
    grad_norm: float | None = None
    """Before clipping, mean over the updates made."""
    changed: float | None = None
    """Part of the weights with a gradient that the updates changed at all, of some that are
    watched. Near 0 where updates round away."""
    loss_scale: float | None = None
    """Factor of the loss under float16; 1 in other precisions, which need none."""
    drift: float | None = None
    """Greatest difference between the copies of a weight that several ranks hold: 0 if all is
    well. Measured by NeMo-Aligner's ranks alone, where there are several."""
    micro_batches: int | None = None
    """Forward and backward passes of all updates, on all ranks. Those that share a micro-batch, by
    tensors or stages, count as one."""
    lr: float | None = None
    """Learning rate of the last update, made or left out."""
    ratio: float | None = None
    """π/π_old."""
    clipped_low: float | None = None
    """Fraction of tokens clipped from below."""
    clipped_high: float | None = None
    dual_clipped: float | None = None
    kl: float | None = None
    """k3 estimate between the weights and those the log-probabilities are of."""
    reference_kl: float | None = None
    """Estimate between the weights and the reference model; None without that term of the loss."""
    importance: float | None = None
    """Mean importance weight of a correction; None without one, as `corrected`."""
    corrected: float | None = None
    """Fraction of tokens that a correction masked or truncated."""
    entropy: float | None = None
    """In nats."""
    mismatch: float | None = None
    """Mean |log π_trainer − log π_sampler| over the tokens of the first update, before it is made:
    0 for equal arithmetic. Tokens count for which both are finite."""
    mismatch_kl: float | None = None
    """k3 estimate of the same."""
    seconds: float | None = None


NO_UPDATE = UpdateMetrics(
    stopped=0,
    skipped=0,
    samples=0,
    zero_advantage_samples=0,
    masked_tokens=0,
    masked_samples=0,
    dropped_tokens=0,
    tokens_trained=0,
    tokens_run=0,
    micro_batches=0,
)
"""What a step without samples did: nothing, and nothing has a mean."""


def measured(update: UpdateMetrics) -> dict[str, float]:
    """The metrics by name, without those that were not measured."""
    return {name: value for name, value in asdict(update).items() if value is not None}


class Trainer(Protocol):
    """Holds the weights and the optimizer.

    Its methods are awaited one after the other and never block the event loop: the work is done in
    a thread or in other processes.
    """

    @property
    def weights(self) -> "WeightSource":
        """The weights as they are after the last update."""
        ...

    @property
    def intact(self) -> bool:
        """Whether weights and optimizer are what the last `update` or `load` that returned left.

        The loop asks after a failure, and saves the run only if it is so: an update that failed
        before it began to change anything loses no earlier step. False where the weights are lost,
        or where a trainer can't tell what a failed update has changed.
        """
        ...

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        """Trains on the samples of one step; the weights of the tokens are final.

        Raises `TrainError` when training can't continue.
        """
        ...

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        """For each sample, the log-prob of each of its tokens under the present weights.

        0 where the token does not train.
        """
        ...

    async def save(self, folder: Path) -> None:
        """Writes model, tokenizer and optimizer into an existing folder."""
        ...

    async def load(self, folder: Path) -> None:
        """Restores what `save` wrote. Raises `CheckpointError`."""
        ...
