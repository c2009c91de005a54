"""Attention of the newest tokens over the blocks of their requests.

On CPUs both products are written as embedding bags, sums of rows with weights: their kernels stream
the blocks at memory speed and read them wherever they lie, where batched matrix products of one or
two rows take several times as long. Scores are a sum of rows of the keys (one row per head
dimension and block, tokens along it), weighted by the query; results are a sum of rows of the
values, weighted by the attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE
from wideseek_rl.models.config import DecoderConfig


@dataclass(frozen=True, slots=True)
class BagIndex:
    """Which rows are summed, for `n` requests of `H` heads and `P` blocks, in this order."""

    key_rows: Tensor
    """`[n * H * P * d]`"""
    key_starts: Tensor
    """`[n * H * P]`"""
    value_rows: Tensor
    """`[n * H * P * BLOCK_SIZE]`"""
    value_starts: Tensor
    """`[n * H]`"""


@dataclass(frozen=True, slots=True)
class AttentionMetadata:
    """What one query of each of `n` requests attends to."""

    block_table: Tensor
    """`[n, P]`"""
    mask: Tensor
    """0 for tokens that may be seen, else -inf: `[n, 1, P * BLOCK_SIZE]`."""
    bags: BagIndex | None


def attention_metadata(
    config: DecoderConfig, tables: Sequence[Sequence[int]], lengths: Sequence[int], like: Tensor
) -> AttentionMetadata:
    """Metadata for the first `lengths[i]` tokens of the blocks `tables[i]`."""
    width = max(-(-length // BLOCK_SIZE) for length in lengths)
    rows = [[*table[:width], *(0,) * (width - len(table))] for table in tables]
    block_table = torch.tensor(rows, dtype=torch.int32, device=like.device)
    positions = torch.arange(width * BLOCK_SIZE, device=like.device)
    hidden = positions >= torch.tensor(lengths, device=like.device)[:, None]
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    mask = mask.masked_fill_(hidden, -torch.inf)[:, None]
    return AttentionMetadata(
        block_table, mask, _bags(config, block_table) if like.device.type == "cpu" else None
    )


def _bags(config: DecoderConfig, block_table: Tensor) -> BagIndex:
    count, width = block_table.shape
    heads, kv_heads, dim = config.heads, config.kv_heads, config.head_dim
    group = heads // kv_heads
    numbers = torch.arange(max(count * heads * width, BLOCK_SIZE, dim), dtype=torch.int32)
    shared = numbers[:heads].div(group, rounding_mode="floor")[:, None]
    rows = (block_table[:, None] * kv_heads + shared)[..., None]  # [n, H, P, 1]
    return BagIndex(
        key_rows=(rows * dim + numbers[:dim]).flatten(),
        key_starts=numbers[: count * heads * width] * dim,
        value_rows=(rows * BLOCK_SIZE + numbers[:BLOCK_SIZE]).flatten(),
        value_starts=numbers[: count * heads] * (width * BLOCK_SIZE),
    )


def attend(q: Tensor, keys: Tensor, values: Tensor, metadata: AttentionMetadata) -> Tensor:
    """One query per request and head.

    Args:
        q: `[n, H, d]`, with the softmax scale in it.
        keys: `[blocks, Hkv, d, BLOCK_SIZE]`, one layer.
        values: `[blocks, Hkv, BLOCK_SIZE, d]`.
        metadata: what is attended to.

    Returns:
        `[n, H, d]`.
    """
    (count, heads, dim), width = q.shape, metadata.block_table.shape[1]
    if metadata.bags is None:
        kv_heads = keys.shape[1]
        grouped = q.reshape(count, kv_heads, -1, dim)
        # [n, Hkv, d, P * BLOCK_SIZE]
        gathered = keys[metadata.block_table].permute(0, 2, 3, 1, 4).flatten(3)
        scores = torch.matmul(grouped, gathered).add_(metadata.mask[:, None])
        gathered = values[metadata.block_table].permute(0, 2, 1, 3, 4).flatten(2, 3)
        return torch.matmul(scores.softmax(-1), gathered).view(count, heads, dim)
    index = metadata.bags
    weights = q[:, :, None].expand(count, heads, width, dim)
    scores = _bag(keys.view(-1, BLOCK_SIZE), index.key_rows, index.key_starts, weights)
    weights = scores.view(count, heads, -1).add_(metadata.mask).softmax(-1)
    mixed = _bag(values.view(-1, dim), index.value_rows, index.value_starts, weights)
    return mixed.view(count, heads, dim)


def _bag(rows: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    flat = weights.reshape(-1)
    return torch.embedding_bag(rows, index, starts, mode=0, per_sample_weights=flat)[0]
