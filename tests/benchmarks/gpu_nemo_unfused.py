"""A rank of NeMo-Aligner whose attention holds all pairs of tokens, to compare with.

Run in the place of `wideseek_rl.trainers.megatron.ranks`, in the same way.
"""

import torch
from torch import Tensor

from wideseek_rl.trainers.megatron import attention, ranks


def unfused(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """Scores of each document as a matrix, in the arithmetic of megatron-core's own attention."""
    lengths = [int(length) for length in ends.diff()]
    parts = zip(*(torch.split(states, lengths) for states in (q, k, v)), strict=True)
    return torch.cat([_document(*part) for part in parts])


def _document(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`[T, heads, dim]` from queries, and keys and values with fewer heads."""
    share = q.shape[1] // k.shape[1]
    k, v = (states.repeat_interleave(share, 1) for states in (k, v))
    scores = torch.einsum("thd,shd->hts", q, k) / q.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    weights = scores.float().masked_fill(future, -torch.inf).softmax(-1).to(q.dtype)
    return torch.einsum("hts,shd->thd", weights, v)


if __name__ == "__main__":
    attention.__dict__["_variable_length"] = attention.__dict__["_by_document"] = unfused
    ranks.main()
