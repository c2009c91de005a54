"""Attention of the newest tokens over their requests' caches.

On CPUs both products are written as embedding bags, sums of rows with weights: their kernels stream
the cache at memory speed, where batched matrix products of one or two rows take several times as
long. Scores are a sum of rows of the keys (one row per head dimension, tokens along it), weighted
by the query; results are a sum of rows of the values, weighted by the attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.engine.cache import Cache
from wideseek_rl.model import Qwen3Config

LONGEST_BAG = 4096
"""Kernels are generated for a row length; past this one, matrix products are used."""


@dataclass(frozen=True, slots=True)
class Bags:
    """Which rows are summed: for `n` requests and `H` heads, in this order."""

    key_rows: Tensor
    """`[n * H * d]`"""
    key_starts: Tensor
    """`[n * H]`"""
    value_rows: Tensor
    """`[n * H * longest]`"""
    value_starts: Tensor
    """`[n * H]`"""


def bags(config: Qwen3Config, count: int, room: int, longest: int) -> Bags:
    """The bags of the first `count` rows of an arena with `room` tokens a row."""
    heads, kv_heads, dim = config.heads, config.kv_heads, config.head_dim
    group = heads // kv_heads
    shared = torch.arange(count * kv_heads, dtype=torch.int32).repeat_interleave(group)[:, None]
    each = torch.arange(count * heads, dtype=torch.int32)
    return Bags(
        key_rows=(shared * dim + torch.arange(dim, dtype=torch.int32)).flatten(),
        key_starts=each * dim,
        value_rows=(shared * room + torch.arange(longest, dtype=torch.int32)).flatten(),
        value_starts=each * longest,
    )


def visible(last: Sequence[int], longest: int, like: Tensor) -> Tensor:
    """0 up to and with each row's last position, then -inf: `[n, 1, longest]`."""
    positions = torch.arange(longest, device=like.device)
    hidden = positions > torch.tensor(last, device=like.device)[:, None]
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(
        hidden, -torch.inf
    )[:, None]


def attend(q: Tensor, cache: Cache, mask: Tensor, index: Bags | None) -> Tensor:
    """One query per row and head.

    Args:
        q: `[n, H, d]`, with the softmax scale in it.
        cache: one layer of an arena, `[rows, Hkv, ...]`, of which the first n rows are used.
        mask: `[n, 1, longest]`, added to the scores.
        index: the bags, or None for matrix products.

    Returns:
        `[n, H, d]`.
    """
    count, longest = mask.shape[0], mask.shape[-1]
    if index is not None:
        room, dim = cache.keys.shape[-1], q.shape[-1]
        scores = _bag(cache.keys.view(-1, room), index.key_rows, index.key_starts, q)
        weights = scores.view(count, -1, room)[..., :longest].add_(mask).softmax(-1)
        return _bag(cache.values.view(-1, dim), index.value_rows, index.value_starts, weights).view(
            q.shape
        )
    kv_heads = cache.keys.shape[1]
    grouped = q.view(count, kv_heads, -1, q.shape[-1])
    scores = torch.matmul(grouped, cache.keys[:count, ..., :longest]).add_(mask[:, None])
    return torch.matmul(scores.softmax(-1), cache.values[:count, :, :longest]).view(q.shape)


def _bag(rows: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    return torch.embedding_bag(rows, index, starts, mode=0, per_sample_weights=weights.reshape(-1))[
        0
    ]
