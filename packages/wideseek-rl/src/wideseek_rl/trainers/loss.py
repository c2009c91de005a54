"""The clipped policy loss over trained tokens, with its KL and entropy terms.

With r = π(token)/π_old(token), advantage A and token weight w, a token costs

    w · [ max(−A·r, −A·clip(r, 1−ε_low, 1+ε_high)) + β·KL_token − η·H_token ]

where for A < 0 the first term is at most −A·c (dual clip, arXiv 1912.09729) and KL_token is the
low-variance estimate k3 = e^d − d − 1, d = log π_ref − log π. All sums run over trained tokens
alone, so padding and prompts cost nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from wideseek_rl.batch.packing import MicroBatch
from wideseek_rl.config import LossConfig
from wideseek_rl.models.ops import MIN_LOGPROB
from wideseek_rl.models.protocol import CausalModel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossInputs:
    """One entry per trained token, `[N]` each."""

    logprobs: Tensor
    """Of the model being trained, with gradient."""
    old_logprobs: Tensor
    advantages: Tensor
    weights: Tensor
    entropy: Tensor
    reference_logprobs: Tensor | None = None
    """Wanted if `kl` is above 0."""


MAX_LOGITS = 1 << 27
"""Most logits held at once; 4 bytes each."""

SUMS = (
    "tokens",
    "ratio",
    "clipped_low",
    "clipped_high",
    "dual_clipped",
    "kl",
    "reference_kl",
    "entropy",
)
"""What `LossOutputs.sums` counts, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossOutputs:
    """The loss and what to log about it."""

    loss: Tensor
    """Scalar: the weighted sum over tokens; add it over micro-batches, never average."""
    sums: Tensor
    """`[len(SUMS)]`, plain sums over tokens, without gradient."""


def policy_loss(inputs: LossInputs, config: LossConfig) -> LossOutputs:
    """The clipped loss of some tokens."""
    limit, advantages = config.log_ratio_limit, inputs.advantages
    log_ratio = (inputs.logprobs - inputs.old_logprobs).clamp(-limit, limit)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    cost = torch.maximum(-advantages * ratio, -advantages * clipped)
    ceiling = -advantages * config.dual_clip
    dual = (advantages < 0) & (cost > ceiling)
    cost = torch.where(dual, ceiling, cost)
    reference_kl = torch.zeros_like(ratio)
    if config.kl > 0:
        if inputs.reference_logprobs is None:
            raise ValueError("kl > 0 needs reference log-probabilities")
        reference_kl = k3(inputs.reference_logprobs - inputs.logprobs, limit)
        cost = cost + config.kl * reference_kl
    if config.entropy > 0:
        cost = cost - config.entropy * inputs.entropy
    with torch.no_grad():
        counted = (
            torch.ones_like(ratio),
            ratio,
            (advantages < 0) & (ratio < 1 - config.clip_low),
            (advantages > 0) & (ratio > 1 + config.clip_high),
            dual,
            k3(log_ratio, limit),
            reference_kl,
            inputs.entropy,
        )
        sums = torch.stack([values.sum(dtype=torch.float64) for values in counted])
    return LossOutputs(loss=(inputs.weights * cost).sum(), sums=sums)


def k3(log_ratio: Tensor, limit: float) -> Tensor:
    """e^d − d − 1, never negative and of low variance; d is clamped to ± `limit`."""
    d = log_ratio.clamp(-limit, limit)
    return torch.expm1(d) - d


def token_logprobs(
    model: CausalModel, batch: MicroBatch, *, temperature: float = 1.0, entropy_grad: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of the sampling distribution at each trained token, `[N]` each.

    Logits are made for trained positions alone; where they would take more than half a gigabyte,
    in chunks that the backward pass computes again.
    """
    hidden = model.hidden(batch.ids, batch.lengths, batch.layout)
    states = hidden.flatten(0, 1).index_select(0, batch.places)  # [N, D]

    def head(states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = model.logits(states).float()  # [n, V]
        logp = (logits if temperature == 1 else logits / temperature).log_softmax(-1)
        with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
            likely = logp.clamp(min=MIN_LOGPROB)
            entropy = -(likely.exp() * likely).sum(-1)
        return logp.gather(-1, targets[:, None]).squeeze(-1), entropy

    with torch.no_grad():
        vocabulary = model.logits(states[:1]).shape[-1]
    size = max(MAX_LOGITS // vocabulary, 1)
    if len(states) <= size:
        return head(states, batch.targets)
    spans = [slice(first, first + size) for first in range(0, len(states), size)]
    parts: list[tuple[Tensor, Tensor]] = [
        checkpoint(head, states[span], batch.targets[span], use_reentrant=False) for span in spans
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
