"""One forward pass over a ragged batch: one token of every running request, and prompt chunks.

Every running request takes part with the last of its pending tokens (the only one whose logits
matter), in the order of the arena rows, so that attention reads the arenas in place. Pending tokens
before the last, those of a prompt, follow packed without padding; they attend request by request.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wideseek_rl.engine.attention import LONGEST_BAG, Bags, attend, bags, visible
from wideseek_rl.engine.cache import Cache
from wideseek_rl.engine.requests import Request
from wideseek_rl.engine.rows import Arena, Rows
from wideseek_rl.engine.weights import FusedWeights, LayerWeights


@dataclass(frozen=True, slots=True)
class Tails:
    """The last tokens of one arena's requests: rows `[start, end)` of the batch."""

    arena: Arena
    start: int
    end: int
    rows: Tensor
    """`0..n`"""
    positions: Tensor
    """Of each row's last token, `[n]`."""
    mask: Tensor
    """0 for what a row may attend to, else -inf: `[n, 1, longest]`."""
    bags: Bags | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A request's pending tokens before the last: rows `[start, end)` of the batch."""

    arena: Arena
    row: int
    start: int
    end: int
    position: int
    """Of the first of them in the request."""
    mask: Tensor | None
    """True where a token may attend, `[n, position + n]`; None if the chunk begins the request."""

    @property
    def until(self) -> int:
        """Tokens of the request that are computed once this chunk is."""
        return self.position + self.end - self.start


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed tokens, and where their keys and values go."""

    ids: Tensor
    rope: Tensor
    tails: list[Tails]
    chunks: list[Chunk]

    @property
    def rows(self) -> int:
        """Leading tokens that get logits, one for each running request."""
        return self.tails[-1].end


def pack(weights: FusedWeights, rows: Rows, counts: dict[Request, int]) -> Batch:
    """A batch that computes the next `counts[request]` pending tokens of each running request."""
    device = weights.device
    tails: list[Tails] = []
    ids: list[int] = []
    positions: list[int] = []
    for arena in rows.arenas.values():
        if not arena.requests:
            continue
        last = [request.computed + counts[request] - 1 for request in arena.requests]
        ids += [request.ids[at] for request, at in zip(arena.requests, last, strict=True)]
        tails.append(_tails(weights, arena, last, len(positions)))
        positions += last
    chunks: list[Chunk] = []
    for request, count in counts.items():
        if count > 1:
            arena, row = rows.place(request)
            first, start = request.computed, len(ids)
            ids += request.ids[first : first + count - 1]
            positions += range(first, first + count - 1)
            mask = _causal(first, count - 1, device) if first else None
            chunks.append(Chunk(arena, row, start, len(ids), first, mask))
    rope = weights.rope(max(positions) + 1)[torch.tensor(positions, device=device)]
    return Batch(torch.tensor(ids, device=device), rope, tails, chunks)


def _tails(weights: FusedWeights, arena: Arena, last: list[int], start: int) -> Tails:
    count, longest = len(last), max(last) + 1
    bagged = weights.device.type == "cpu" and arena.size <= LONGEST_BAG
    return Tails(
        arena,
        start,
        start + count,
        torch.arange(count, device=weights.device),
        torch.tensor(last, device=weights.device),
        visible(last, longest, arena.cache.keys),
        bags(weights.config, count, arena.size, longest) if bagged else None,
    )


def _causal(first: int, count: int, device: torch.device) -> Tensor:
    return torch.ones((count, first + count), dtype=torch.bool, device=device).tril(first)


def forward(weights: FusedWeights, batch: Batch) -> Tensor:
    """Fills the caches of the batch's tokens; logits `[batch.rows, V]` of the leading ones."""
    x = weights.embedding[batch.ids].float()
    for index, layer in enumerate(weights.layers):
        qkv = layer.qkv(_normed(x, weights))
        x.add_(layer.out(_attend(weights, index, layer, qkv, batch)))
        gate, up = layer.gate_up(_normed(x, weights)).chunk(2, dim=-1)
        x.add_(layer.down(F.silu(gate).mul_(up)))
    return weights.head(_normed(x[: batch.rows], weights))


def _normed(x: Tensor, weights: FusedWeights) -> Tensor:
    """Rows scaled to mean square 1: `[..., n]`; the norm's weight is folded into what follows."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * length.square_().div_(x.shape[-1]).add_(weights.config.norm_eps).rsqrt_()


def _attend(
    weights: FusedWeights, index: int, layer: LayerWeights, qkv: Tensor, batch: Batch
) -> Tensor:
    """Attention of layer `index`: `[N, (H + 2 * Hkv) * d] -> [N, H * d]`."""
    config = weights.config
    heads, rotated, dim = config.heads, config.heads + config.kv_heads, config.head_dim
    split = qkv.view(len(qkv), -1, dim)
    qk = _normed(split[:, :rotated].float(), weights).mul_(layer.qk_scale)
    pairs = torch.view_as_complex(qk.view(*qk.shape[:2], -1, 2))
    qk = torch.view_as_real(pairs.mul_(batch.rope)).flatten(2).to(weights.cache_dtype)
    q, k, v = qk[:, :heads], qk[:, heads:], split[:, rotated:].to(weights.cache_dtype)
    mixed = torch.empty_like(q)
    for chunk in batch.chunks:
        part = slice(chunk.start, chunk.end)
        cache = _layer(chunk.arena, index, chunk.row)
        cache.keys[..., chunk.position : chunk.until] = k[part].permute(1, 2, 0)
        cache.values[:, chunk.position : chunk.until] = v[part].transpose(0, 1)
        mixed[part] = _attend_chunk(q[part], cache, chunk)
    for tails in batch.tails:
        part = slice(tails.start, tails.end)
        cache = _layer(tails.arena, index)
        cache.keys[tails.rows, :, :, tails.positions] = k[part]
        cache.values[tails.rows, :, tails.positions] = v[part]
        mixed[part] = attend(q[part], cache, tails.mask, tails.bags)
    return mixed.flatten(1)


def _layer(arena: Arena, index: int, row: int | None = None) -> Cache:
    at = (index,) if row is None else (index, row)
    return Cache(arena.cache.keys[at], arena.cache.values[at])


def _attend_chunk(q: Tensor, cache: Cache, chunk: Chunk) -> Tensor:
    """Attention of a chunk `[n, H, d]` over its request's cache up to and with the chunk."""
    mixed = F.scaled_dot_product_attention(
        q[None].transpose(1, 2),  # [1, H, n, d]
        cache.keys[None, ..., : chunk.until].transpose(2, 3).contiguous(),
        cache.values[None, :, : chunk.until],
        attn_mask=chunk.mask,
        is_causal=chunk.mask is None,
        scale=1.0,
        enable_gqa=True,
    )
    return mixed[0].transpose(0, 1)
