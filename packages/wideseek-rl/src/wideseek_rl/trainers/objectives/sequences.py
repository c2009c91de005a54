"""Sums over the tokens of a sequence."""

import torch
from torch import Tensor


def sequence_sums(values: Tensor, sequences: Tensor) -> Tensor:
    """The sum over each token's sequence, for each token, `[N]`.

    Args:
        values: `[N]`, a number for each token.
        sequences: `[N]`, the number of the sequence that each token is of, from 0.
    """
    count = int(sequences.max()) + 1 if len(sequences) else 0
    sums = torch.zeros(count, dtype=values.dtype, device=values.device)
    return sums.index_add(0, sequences, values)[sequences]
