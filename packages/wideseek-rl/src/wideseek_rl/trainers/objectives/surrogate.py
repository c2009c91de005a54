"""What one token costs, before KL and entropy: the objective that a gradient step improves.

With ratio r, advantage A and clip(r) = min(max(r, 1 − ε_low), 1 + ε_high):

    clip    max(−A·r, −A·clip(r)), for A < 0 at most −A·c
            (PPO, arXiv 1707.06347; two ε: DAPO, arXiv 2503.14476; c: dual clip, arXiv 1912.09729)
    cispo   −sg[clip(r)]·A·log π, sg being a stop of the gradient (arXiv 2506.13585)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.trainers.objectives.config import LossConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenCosts:
    """The costs of tokens, and which of them were clipped; `[N]` each."""

    cost: Tensor
    low: Tensor
    high: Tensor
    dual: Tensor


def token_costs(
    ratio: Tensor, logprobs: Tensor, advantages: Tensor, config: LossConfig
) -> TokenCosts:
    """What the configured surrogate makes of each token."""
    surrogate = _clip if config.surrogate == "clip" else _cispo
    return surrogate(ratio, logprobs, advantages, config)


def _clip(ratio: Tensor, logprobs: Tensor, advantages: Tensor, config: LossConfig) -> TokenCosts:
    del logprobs
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    cost = torch.maximum(-advantages * ratio, -advantages * clipped)
    ceiling = -advantages * config.dual_clip
    dual = (advantages < 0) & (cost > ceiling)
    return TokenCosts(
        cost=torch.where(dual, ceiling, cost),
        low=(advantages < 0) & (ratio < 1 - config.clip_low),
        high=(advantages > 0) & (ratio > 1 + config.clip_high),
        dual=dual,
    )


def _cispo(ratio: Tensor, logprobs: Tensor, advantages: Tensor, config: LossConfig) -> TokenCosts:
    low, high = 1 - config.clip_low, 1 + config.clip_high
    weight = ratio.detach().clamp(low, high)
    return TokenCosts(
        cost=-weight * advantages * logprobs,
        low=ratio < low,
        high=ratio > high,
        dual=torch.zeros_like(ratio, dtype=torch.bool),
    )
