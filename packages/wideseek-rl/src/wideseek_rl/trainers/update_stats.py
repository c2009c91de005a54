"""Sums over the updates of one step, and the metrics they make."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wideseek_rl.trainers.loss import SUMS, LossOutputs, k3
from wideseek_rl.trainers.masters import Step
from wideseek_rl.trainers.protocol import UpdateMetrics


class UpdateStats:
    """Collects what the updates of one step did. Sums stay on the device until they are read."""

    def __init__(self, *, samples: int, zero_advantage_samples: int, device: torch.device) -> None:
        self._samples, self._zero_advantage_samples = samples, zero_advantage_samples
        self._sums = torch.zeros(len(SUMS), dtype=torch.float64, device=device)
        self._mismatch = torch.zeros(3, dtype=torch.float64, device=device)
        self._steps: list[Step] = []
        self._losses: list[float] = []
        self.lr = 0.0
        self.loss_scale = 1.0
        self.stopped = False
        self.skipped = 0
        self.tokens_run = 0
        self.micro_batches = 0
        self.masked_tokens = 0
        self.masked_samples = 0

    def add_mismatch(self, logprobs: Tensor, sampled: Tensor, limit: float) -> None:
        """Compares log-probabilities of unchanged weights with the sampler's."""
        difference = logprobs - sampled
        difference = difference[torch.isfinite(difference)]
        values = (torch.ones_like(difference), difference.abs(), k3(difference, limit))
        self._mismatch += torch.stack([value.sum(dtype=torch.float64) for value in values])

    def add_update(self, sums: Tensor, loss: float, step: Step | None) -> None:
        """Counts one update; `step` is None if it was not made."""
        self._sums += sums
        self._losses.append(loss)
        if step is not None:
            self._steps.append(step)

    def metrics(self, seconds: float) -> UpdateMetrics:
        """What the step did."""
        sums = [float(value) for value in self._sums.cpu()]
        total = dict(zip(SUMS, sums, strict=True))
        trained = total["tokens"]
        tokens = max(trained, 1.0)
        compared, distance, divergence = (float(value) for value in self._mismatch.cpu())
        compared = max(compared, 1.0)
        return UpdateMetrics(
            updates=len(self._steps),
            stopped=int(self.stopped),
            skipped=self.skipped,
            samples=self._samples,
            zero_advantage_samples=self._zero_advantage_samples,
            masked_tokens=self.masked_tokens + int(total["masked"]),
            masked_samples=self.masked_samples,
            tokens_trained=int(trained),
            tokens_run=self.tokens_run,
            loss=_mean(self._losses),
            grad_norm=_mean([step.norm for step in self._steps]),
            changed=_mean([step.changed for step in self._steps], 1.0),
            loss_scale=self.loss_scale,
            micro_batches=self.micro_batches,
            lr=self.lr,
            ratio=total["ratio"] / tokens if trained else 1.0,
            clipped_low=total["clipped_low"] / tokens,
            clipped_high=total["clipped_high"] / tokens,
            dual_clipped=total["dual_clipped"] / tokens,
            kl=total["kl"] / tokens,
            reference_kl=total["reference_kl"] / tokens,
            importance=total["importance"] / tokens if trained else 1.0,
            corrected=total["corrected"] / tokens,
            dropped_tokens=int(total["dropped"]),
            entropy=total["entropy"] / tokens,
            mismatch=distance / compared,
            mismatch_kl=divergence / compared,
            seconds=seconds,
        )


class UpdateSums:
    """Loss and sums of one update, over its micro-batches."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64, device=device)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, outputs: LossOutputs) -> None:
        """Adds one micro-batch."""
        self.sums += outputs.sums
        self._loss += outputs.loss.detach()

    @property
    def loss(self) -> float:
        """The loss of the whole update."""
        return float(self._loss)

    def reduce(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Takes what other ranks added."""
        self.sums = sum_over_ranks(self.sums)
        self._loss = sum_over_ranks(self._loss)

    @property
    def tokens(self) -> int:
        """Tokens that count."""
        return int(self.sums[SUMS.index("tokens")])

    @property
    def dropped(self) -> int:
        """Tokens of micro-batches whose mean ratio ran away."""
        return int(self.sums[SUMS.index("dropped")])

    @property
    def mean_ratio(self) -> float:
        """Mean of π/π_old over tokens."""
        ratio, tokens = self.sums[SUMS.index("ratio")], self.sums[SUMS.index("tokens")]
        return float(ratio / tokens.clamp(min=1))


def _mean(values: list[float], empty: float = 0.0) -> float:
    return math.fsum(values) / len(values) if values else empty
