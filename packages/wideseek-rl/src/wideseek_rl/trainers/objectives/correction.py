"""Importance weights for tokens that were sampled by other weights or in another arithmetic.

With ρ = π_old/π_sampler of a token, and ρ(y) = Π ρ over the tokens of a sequence y:

    tis     min(ρ, high)                        Yao et al. 2025, "Your efficient RL framework
                                                secretly brings you off-policy RL training"
    icepop  ρ if low ≤ ρ ≤ high, else 0         Ling team, arXiv 2510.18855
    mis     ρ(y) if low ≤ ρ(y) ≤ high, else 0   Liu et al. 2025, "When speed kills stability"
"""

import torch
from torch import Tensor

from wideseek_rl.trainers.objectives.config import LossConfig
from wideseek_rl.trainers.objectives.sequences import sequence_sums


def importance_weights(
    old: Tensor, sampled: Tensor, sequences: Tensor | None, config: LossConfig
) -> Tensor:
    """The factor of each token's weight, `[N]`, without gradient; 0 for masked ones.

    Args:
        old: `[N]`, log π_old by the trainer.
        sampled: `[N]`, log π by the sampler.
        sequences: `[N]`, which sequence each token is of; `mis` needs it.
        config: the kind of the correction, and its bounds.
    """
    kind, (low, high) = config.correction.kind, config.correction.bounds
    difference = torch.nan_to_num((old - sampled).detach(), nan=0.0, posinf=0.0, neginf=0.0)
    if kind == "none":
        return torch.ones_like(difference)
    if kind == "mis":
        assert sequences is not None, "masking sequences needs to know them"
        difference = sequence_sums(difference, sequences)
    rho = difference.clamp(-config.log_ratio_limit, config.log_ratio_limit).exp()
    if kind == "tis":
        return rho.clamp(max=high)
    return torch.where((rho >= low) & (rho <= high), rho, 0.0)
