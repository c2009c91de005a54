"""How much likelier tokens, or sequences, have become: log π − log π_old."""

import torch
from torch import Tensor

from wideseek_rl.trainers.objectives.sequences import sequence_sums


def sequence_log_ratio(log_ratio: Tensor, valid: Tensor, sequences: Tensor) -> Tensor:
    """The mean log-ratio of each token's sequence, with the gradient of the token's own.

    GSPO (arXiv 2507.18071) has s = (π(y)/π_old(y))^(1/|y|) for all tokens of y. Its token form
    sg[s]·π/sg[π], sg being a stop of the gradient, has the same values and, where the tokens of a
    sequence have one advantage and one weight, the same gradient. Tokens that are not valid do not
    count in the mean.
    """
    with torch.no_grad():
        counts = sequence_sums(valid.to(log_ratio.dtype), sequences).clamp(min=1)
        mean = sequence_sums(torch.where(valid, log_ratio, 0.0), sequences) / counts
    return mean + (log_ratio - log_ratio.detach())
