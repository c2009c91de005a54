"""One forward pass over a ragged batch: one token of every running request, and prompt chunks.

Every running request takes part with the last of its pending tokens, the only one whose logits
are used: these come first, as decode batches. Pending tokens before the last, those of a prompt,
follow as prefill chunks, packed without padding; they attend request by request.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from wideseek_rl.engines.builtin.attention import AttentionMetadata, attend, attention_metadata
from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE, BlockPool
from wideseek_rl.engines.builtin.requests import Request
from wideseek_rl.engines.builtin.weights import FusedWeights, LayerWeights
from wideseek_rl.models.ops import attention

MAX_PADDING = 32
"""Blocks of padding in a decode batch from which it is split into more equal lengths."""


@dataclass(frozen=True, slots=True)
class DecodeBatch:
    """Last tokens of requests of similar length: rows `[start, end)` of the batch."""

    start: int
    end: int
    metadata: AttentionMetadata


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """A request's pending tokens before the last: rows `[start, end)` of the batch."""

    start: int
    end: int
    until: int
    """Tokens of the request that are computed once this chunk is."""
    blocks: Tensor | None
    """The request's blocks if it has tokens before the chunk."""
    mask: Tensor | None
    """True where a token may attend, `[n, until]`; None if the chunk begins the request."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed tokens, and where their keys and values go."""

    requests: list[Request]
    """In the order of the decode batches, and so of the logits."""
    ids: Tensor
    rope: Tensor
    blocks: Tensor
    """The block that each token is written to, `[N]`."""
    slots: Tensor
    """The place of the token in that block, `[N]`."""
    decodes: list[DecodeBatch]
    prefills: list[PrefillChunk]


def pack(weights: FusedWeights, pool: BlockPool, counts: dict[Request, int]) -> Batch:
    """A batch that computes the next `counts[request]` pending tokens of each request."""
    decodes: list[DecodeBatch] = []
    prefills: list[PrefillChunk] = []
    order: list[Request] = []
    tokens: list[tuple[int, int, int]] = []  # id, position, block
    for group in _groups(counts):
        lengths = [request.computed + counts[request] for request in group]
        tables = [request.cached.block_ids for request in group]
        metadata = attention_metadata(weights.config, tables, lengths, pool.keys)
        decodes.append(DecodeBatch(len(order), len(order) + len(group), metadata))
        order += group
    for request in order:
        last = request.computed + counts[request] - 1
        tokens += _tokens(request, last, last + 1)
    for request, count in counts.items():
        if count > 1:
            first, until, start = request.computed, request.computed + count - 1, len(tokens)
            tokens += _tokens(request, first, until)
            prefills.append(_chunk(pool, request, start, until))
    packed = torch.tensor(tokens, device=weights.device).t()
    ids, positions, blocks = packed.unbind()
    rope = weights.rope(max(request.length for request in order))[positions]
    return Batch(order, ids, rope, blocks, positions % BLOCK_SIZE, decodes, prefills)


def _groups(counts: dict[Request, int]) -> Iterator[list[Request]]:
    """Requests in groups of similar length, so that padding wastes little."""
    group: list[Request] = []
    padding = longest = 0
    for request in sorted(counts, key=lambda request: request.computed + counts[request]):
        width = -(-(request.computed + counts[request]) // BLOCK_SIZE)
        padding += len(group) * (width - longest)
        if padding > MAX_PADDING:
            yield group
            group, padding = [], 0
        group.append(request)
        longest = width
    yield group


def _tokens(request: Request, first: int, until: int) -> list[tuple[int, int, int]]:
    ids, blocks = request.ids, request.cached.block_ids
    return [(ids[at], at, blocks[at // BLOCK_SIZE]) for at in range(first, until)]


def _chunk(pool: BlockPool, request: Request, start: int, until: int) -> PrefillChunk:
    first = request.computed
    end = start + until - first
    if first == 0:
        return PrefillChunk(start, end, until, None, None)
    mask = torch.ones((until - first, until), dtype=torch.bool, device=pool.device).tril(first)
    blocks = torch.tensor(request.cached.block_ids[: -(-until // BLOCK_SIZE)], device=pool.device)
    return PrefillChunk(start, end, until, blocks, mask)


def forward(weights: FusedWeights, pool: BlockPool, batch: Batch) -> Tensor:
    """Fills the blocks of the batch's tokens; logits `[n, V]` of the decode batches."""
    x = weights.embedding[batch.ids].float()
    for index, layer in enumerate(weights.layers):
        qkv = layer.qkv(_normed(x, weights))
        keys, values = pool.keys[index], pool.values[index]
        x.add_(layer.out(_attend(weights, layer, qkv, keys, values, batch)))
        gate, up = layer.gate_up(_normed(x, weights)).chunk(2, dim=-1)
        x.add_(layer.down(F.silu(gate).mul_(up)))
    return weights.head(_normed(x[: len(batch.requests)], weights))


def _normed(x: Tensor, weights: FusedWeights) -> Tensor:
    """Rows scaled to mean square 1: `[..., n]`; the norm's weight is folded into what follows."""
    length = cast(Tensor, cast(Any, torch.linalg.vector_norm)(x, dim=-1, keepdim=True))
    return x * length.square_().div_(x.shape[-1]).add_(weights.config.norm_eps).rsqrt_()


def _attend(
    weights: FusedWeights,
    layer: LayerWeights,
    qkv: Tensor,
    keys: Tensor,
    values: Tensor,
    batch: Batch,
) -> Tensor:
    """Attention of one layer: `[N, (H + 2 * Hkv) * d] -> [N, H * d]`."""
    config = weights.config
    heads, rotated, dim = config.heads, config.heads + config.kv_heads, config.head_dim
    split = qkv.view(len(qkv), -1, dim)
    qk = split[:, :rotated].float()
    qk = (_normed(qk, weights) if layer.normalized else qk) * layer.qk_scale
    pairs = torch.view_as_complex(qk.view(*qk.shape[:2], -1, 2))
    qk = torch.view_as_real(pairs.mul_(batch.rope)).flatten(2).to(keys.dtype)
    q, k, v = qk[:, :heads], qk[:, heads:], split[:, rotated:].to(keys.dtype)
    keys[batch.blocks, :, :, batch.slots] = k
    values[batch.blocks, :, batch.slots] = v
    mixed = torch.empty_like(q)
    for decode in batch.decodes:
        mixed[decode.start : decode.end] = attend(
            q[decode.start : decode.end], keys, values, decode.metadata
        )
    for chunk in batch.prefills:
        part = slice(chunk.start, chunk.end)
        if chunk.blocks is None:
            mixed[part] = _within(q[part], k[part].transpose(0, 1), v[part].transpose(0, 1), None)
        else:
            known = keys[chunk.blocks].permute(1, 0, 3, 2).flatten(1, 2)[:, : chunk.until]
            seen = values[chunk.blocks].transpose(0, 1).flatten(1, 2)[:, : chunk.until]
            mixed[part] = _within(q[part], known, seen, chunk.mask)
    return mixed.flatten(1)


def _within(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of a chunk: q `[n, H, d]`, k and v `[Hkv, until, d]`; causal without a mask."""
    mixed = attention(q[None].transpose(1, 2), k[None], v[None], mask, scale=1.0)
    return mixed[0].transpose(0, 1)
