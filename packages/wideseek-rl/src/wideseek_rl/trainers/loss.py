"""The clipped policy loss over trained tokens, with its KL and entropy terms.

With r = π(token)/π_old(token), advantage A and token weight w, a token costs

    w · [ max(−A·r, −A·clip(r, 1−ε_low, 1+ε_high)) + β·KL_token − η·H_token ]

where for A < 0 the first term is at most −A·c (dual clip, arXiv 1912.09729) and KL_token is the
low-variance estimate k3 = e^d − d − 1, d = log π_ref − log π. All sums run over trained tokens
alone, so padding and prompts cost nothing.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.trainers.config import LossConfig


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


SUMS = (
    "tokens",
    "ratio",
    "clipped_low",
    "clipped_high",
    "dual_clipped",
    "kl",
    "reference_kl",
    "entropy",
    "masked",
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
    """The clipped loss of some tokens.

    Tokens whose log-ratio is not within ± `max_log_ratio`, or is no number, cost nothing and count
    for nothing: one of them would outweigh the rest.
    """
    limit, advantages = config.log_ratio_limit, inputs.advantages
    reference = inputs.reference_logprobs
    if config.kl > 0 and reference is None:
        raise ValueError("kl > 0 needs reference log-probabilities")
    valid = within(inputs.logprobs - inputs.old_logprobs, config)
    if reference is not None:
        valid = valid & torch.isfinite(reference)
        reference = torch.where(valid, reference, 0.0)
    # Selected before any arithmetic: a NaN that is only multiplied by 0 stays one.
    logprobs = torch.where(valid, inputs.logprobs, 0.0)
    log_ratio = (logprobs - torch.where(valid, inputs.old_logprobs, 0.0)).clamp(-limit, limit)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    cost = torch.maximum(-advantages * ratio, -advantages * clipped)
    ceiling = -advantages * config.dual_clip
    dual = (advantages < 0) & (cost > ceiling)
    cost = torch.where(dual, ceiling, cost)
    reference_kl = torch.zeros_like(ratio)
    if reference is not None and config.kl > 0:
        reference_kl = k3(reference - logprobs, limit)
        if config.kl_clamp is not None:
            reference_kl = reference_kl.clamp(max=config.kl_clamp)
        cost = cost + config.kl * reference_kl
    if config.entropy > 0:
        cost = cost - config.entropy * torch.where(valid, inputs.entropy, 0.0)
    weights = torch.where(valid, inputs.weights, 0.0)
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
        sums = [torch.where(valid, values, 0.0).sum(dtype=torch.float64) for values in counted]
        sums.append((~valid).sum(dtype=torch.float64))
    return LossOutputs(loss=(weights * cost).sum(), sums=torch.stack(sums))


def within(log_ratio: Tensor, config: LossConfig) -> Tensor:
    """Whether log-ratios are numbers that may train."""
    limit = math.inf if config.max_log_ratio is None else config.max_log_ratio
    return (log_ratio.abs() <= limit) & torch.isfinite(log_ratio)


def k3(log_ratio: Tensor, limit: float) -> Tensor:
    """e^d − d − 1, never negative and of low variance; d is clamped to ± `limit`."""
    d = log_ratio.clamp(-limit, limit)
    return torch.expm1(d) - d
