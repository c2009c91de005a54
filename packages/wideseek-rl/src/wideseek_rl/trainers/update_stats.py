"""Sums over the updates of one step, and the metrics they make: of all trainers, and all ranks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.trainers.config import LossConfig
from wideseek_rl.trainers.loss import COMPARED, SUMS, LossOutputs
from wideseek_rl.trainers.protocol import UpdateMetrics

SumOverRanks = Callable[[Tensor], Tensor]
"""The sum of a tensor over all ranks that train on samples of their own."""

MEANS: tuple[str, ...] = ("ratio", "clipped_low", "clipped_high", "dual_clipped", "kl", "entropy")
"""Metrics that are means over trained tokens, whatever the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one optimizer step did."""

    norm: float
    """Of the gradient, before clipping; not finite if no step was made."""
    changed: float | None = None
    """Part of the watched master weights with a gradient that are not what they were; None if no
    step was made, or none of them has a gradient."""


class UpdateStats:
    """Collects what the updates of one step did."""

    def __init__(
        self, *, samples: int, zero_advantage_samples: int, loss: LossConfig, device: torch.device
    ) -> None:
        self._samples, self._zero_advantage_samples = samples, zero_advantage_samples
        self._loss, self._device = loss, device
        self._sums = torch.zeros(len(SUMS), dtype=torch.float64, device=device)
        self._compared: Tensor | None = None
        self._steps: list[Step] = []
        self._losses: list[float] = []
        self.lr: float | None = None
        self.loss_scale = 1.0
        self.stopped = False
        self.skipped = 0
        # Counts of this rank's own, until `reduce` adds those of the others.
        self.tokens_run = 0
        self.micro_batches = 0
        self.masked_tokens = 0
        self.masked_samples = 0

    def add_update(self, sums: Tensor, loss: float, step: Step | None) -> None:
        """Counts one update, with its sums over all ranks; `step` is None if it was not made.

        The first one is that of unchanged weights, which alone are the sampler's.
        """
        self._sums += sums
        if self._compared is None:
            self._compared = sums[COMPARED].clone()
        if float(sums[SUMS.index("tokens")]):
            self._losses.append(loss)
        if step is not None:
            self._steps.append(step)

    def reduce(self, sum_over_ranks: SumOverRanks) -> None:
        """Adds what other ranks counted; all of them call it together, after the last update."""
        own = (self.tokens_run, self.micro_batches, self.masked_tokens, self.masked_samples)
        counts = torch.tensor(own, dtype=torch.float64, device=self._device)
        total = [int(value) for value in sum_over_ranks(counts).cpu()]
        self.tokens_run, self.micro_batches, self.masked_tokens, self.masked_samples = total

    def metrics(self, seconds: float | None = None) -> UpdateMetrics:
        """What the step did."""
        sums = [float(value) for value in self._sums.cpu()]
        total: dict[str, float] = dict(zip(SUMS, sums, strict=True))
        return UpdateMetrics(
            updates=len(self._steps),
            stopped=int(self.stopped),
            skipped=self.skipped,
            samples=self._samples,
            zero_advantage_samples=self._zero_advantage_samples,
            masked_tokens=self.masked_tokens + int(total["masked"]),
            masked_samples=self.masked_samples,
            tokens_trained=int(total["tokens"]),
            tokens_run=self.tokens_run,
            loss=_mean(self._losses),
            grad_norm=_mean([step.norm for step in self._steps]),
            changed=_mean([step.changed for step in self._steps if step.changed is not None]),
            loss_scale=self.loss_scale,
            micro_batches=self.micro_batches,
            lr=self.lr,
            dropped_tokens=int(total["dropped"]),
            seconds=seconds,
            **self._means(total),
            **self._mismatch(),
        )

    def _means(self, total: dict[str, float]) -> dict[str, float]:
        """Means over trained tokens of what the settings have the loss compute."""
        if not total["tokens"]:
            return {}
        names = [*MEANS]
        if self._loss.kl > 0:
            names += ["reference_kl"]
        if self._loss.correction.kind != "none":
            names += ["importance", "corrected"]
        return {name: total[name] / total["tokens"] for name in names}

    def _mismatch(self) -> dict[str, float]:
        """Means over the tokens that were compared with the sampler's; none, if none were."""
        if self._compared is None:
            return {}
        compared, distance, divergence = (float(value) for value in self._compared.cpu())
        if not compared:
            return {}
        return {"mismatch": distance / compared, "mismatch_kl": divergence / compared}


class UpdateSums:
    """Loss and sums of one update, over its micro-batches. They stay on the device until read."""

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

    def reduce(self, sum_over_ranks: SumOverRanks) -> None:
        """Takes what other ranks added."""
        total = sum_over_ranks(torch.cat([self.sums, self._loss[None]]))
        self.sums, self._loss = total[:-1], total[-1]

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


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
