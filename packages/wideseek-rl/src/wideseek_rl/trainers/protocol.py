"""The interface between the training loop and what holds the weights.

A training sample carries all that is needed (ids, token weights, advantages, log-probs); the loop
knows nothing of tensors, ranks or optimizers, and a trainer nothing of prompts or rewards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wideseek_rl.batch.samples import Floats, TrainingSample

if TYPE_CHECKING:
    from wideseek_rl.sync.source import WeightSource


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMetrics:
    """What one step of training did. Means run over trained tokens, of all updates of the step."""

    updates: int = 0
    """Optimizer steps made."""
    stopped: int = 0
    """1 if the mean ratio passed its limit and the rest of the step was dropped."""
    skipped: int = 0
    """Updates left out because their gradient was not finite."""
    samples: int = 0
    """Samples that ran through the model."""
    zero_advantage_samples: int = 0
    """Samples without gradient (all advantages 0), which did not run."""
    masked_tokens: int = 0
    """Tokens left out because a number of theirs was none, or their log-ratio out of bounds."""
    masked_samples: int = 0
    """Samples of which nothing was left."""
    dropped_tokens: int = 0
    """Tokens of micro-batches that were left out because their mean ratio passed its limit."""
    tokens_trained: int = 0
    tokens_run: int = 0
    """Positions that ran through the model once per update, padding included."""
    loss: float = 0.0
    grad_norm: float = 0.0
    """Before clipping, mean over updates."""
    changed: float = 1.0
    """Part of the weights with a gradient that the updates changed at all, of some that are
    watched. Near 0 where updates round away."""
    loss_scale: float = 1.0
    """Factor of the loss under float16."""
    drift: float = 0.0
    """Greatest difference between the copies of a weight that several ranks hold: 0 if all is
    well. Measured by NeMo-Aligner's ranks alone."""
    micro_batches: int = 0
    """Forward and backward passes of all updates."""
    lr: float = 0.0
    ratio: float = 1.0
    """π/π_old."""
    clipped_low: float = 0.0
    """Fraction of tokens clipped from below."""
    clipped_high: float = 0.0
    dual_clipped: float = 0.0
    kl: float = 0.0
    """k3 estimate between the weights and those the log-probabilities are of."""
    reference_kl: float = 0.0
    importance: float = 1.0
    """Mean importance weight of a correction."""
    corrected: float = 0.0
    """Fraction of tokens that a correction masked or truncated."""
    entropy: float = 0.0
    """In nats."""
    mismatch: float = 0.0
    """Mean |log π_trainer − log π_sampler| before the first update: 0 for equal arithmetic."""
    mismatch_kl: float = 0.0
    """k3 estimate of the same."""
    seconds: float = 0.0


class Trainer(Protocol):
    """Holds the weights and the optimizer.

    Its methods are awaited one after the other and never block the event loop: the work is done in
    a thread or in other processes.
    """

    @property
    def weights(self) -> "WeightSource":
        """The weights as they are after the last update."""
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
