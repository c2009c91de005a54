"""Estimates of KL(π ‖ π_ref) from sampled tokens, with d = log π_ref − log π of a token.

    k1 = −d         unbiased, may be negative; as a loss its gradient is 0 on average
    k2 = d²/2       biased, but its gradient is that of the KL
    k3 = e^d − d − 1  unbiased, never negative, of low variance
    abs = |d|

The first three are J. Schulman's ("Approximating KL divergence", 2020); `abs` is what public code
for RLHF offers beside them.
"""

import torch
from torch import Tensor

from wideseek_rl.trainers.objectives.config import Estimator


def divergence(d: Tensor, estimator: Estimator, *, limit: float) -> Tensor:
    """The estimate for each token; d is clamped to ± `limit`."""
    d = d.clamp(-limit, limit)
    match estimator:
        case "k1":
            return -d
        case "k2":
            return d * d / 2
        case "k3":
            return torch.expm1(d) - d
        case "abs":
            return d.abs()
