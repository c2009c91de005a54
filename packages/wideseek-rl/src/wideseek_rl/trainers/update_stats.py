"""Sums over the updates of one step, and the metrics they make."""

import math

import torch
from torch import Tensor

from wideseek_rl.trainers.loss import SUMS, LossOutputs, k3
from wideseek_rl.trainers.protocol import UpdateMetrics


class UpdateStats:
    """Collects what the updates of one step did. Sums stay on the device until they are read."""

    def __init__(self, *, samples: int, zero_advantage_samples: int, device: torch.device) -> None:
        self._samples, self._zero_advantage_samples = samples, zero_advantage_samples
        self._sums = torch.zeros(len(SUMS), dtype=torch.float64, device=device)
        self._mismatch = torch.zeros(3, dtype=torch.float64, device=device)
        self._norms: list[float] = []
        self._losses: list[float] = []
        self.lr = 0.0
        self.stopped = False
        self.skipped = 0
        self.tokens_run = 0

    def add_mismatch(self, logprobs: Tensor, sampled: Tensor, limit: float) -> None:
        """Compares log-probabilities of unchanged weights with the sampler's."""
        difference = logprobs - sampled
        values = (torch.ones_like(difference), difference.abs(), k3(difference, limit))
        self._mismatch += torch.stack([value.sum(dtype=torch.float64) for value in values])

    def add_update(self, sums: Tensor, loss: float, norm: float | None) -> None:
        """Counts one update; `norm` is None if it was not made."""
        self._sums += sums
        self._losses.append(loss)
        if norm is not None:
            self._norms.append(norm)

    def metrics(self, seconds: float) -> UpdateMetrics:
        """What the step did."""
        sums = [float(value) for value in self._sums.cpu()]
        total = dict(zip(SUMS, sums, strict=True))
        tokens = max(total["tokens"], 1.0)
        compared, distance, divergence = (float(value) for value in self._mismatch.cpu())
        compared = max(compared, 1.0)
        return UpdateMetrics(
            updates=len(self._norms),
            stopped=int(self.stopped),
            skipped=self.skipped,
            samples=self._samples,
            zero_advantage_samples=self._zero_advantage_samples,
            tokens_trained=int(total["tokens"]),
            tokens_run=self.tokens_run,
            loss=_mean(self._losses),
            grad_norm=_mean(self._norms),
            lr=self.lr,
            ratio=total["ratio"] / tokens if total["tokens"] else 1.0,
            clipped_low=total["clipped_low"] / tokens,
            clipped_high=total["clipped_high"] / tokens,
            dual_clipped=total["dual_clipped"] / tokens,
            kl=total["kl"] / tokens,
            reference_kl=total["reference_kl"] / tokens,
            entropy=total["entropy"] / tokens,
            mismatch=distance / compared,
            mismatch_kl=divergence / compared,
            seconds=seconds,
        )


class Accumulated:
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

    @property
    def mean_ratio(self) -> float:
        """Mean of π/π_old over tokens."""
        ratio, tokens = self.sums[SUMS.index("ratio")], self.sums[SUMS.index("tokens")]
        return float(ratio / tokens.clamp(min=1))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
