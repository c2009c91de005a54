"""One forward pass over a ragged batch: one token of every running request, and prompt chunks.

Every running request takes part with the last of its pending tokens (the only one whose logits
matter), in the order of the arena rows, so that attention reads the arenas in place. Pending tokens
before the last, those of a prompt, follow packed without padding; they attend request by request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wideseek_rl.engine.requests import Request
from wideseek_rl.engine.rows import Arena, Rows
from wideseek_rl.engine.weights import FusedWeights, LayerWeights


@dataclass(frozen=True, slots=True)
class Tails:
    """The last tokens of one arena's requests: rows `[start, end)` of the batch."""

    arena: Arena
    start: int
    end: int
    longest: int
    """Tokens that attention has to read."""
    slots: Tensor
    """Where each row's key heads go in the flattened arena, `[n * Hkv]`."""
    mask: Tensor
    """0 for what a row may attend to, else -inf: `[n, 1, 1, longest]`."""


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
        tails.append(_tails(arena, last, len(positions), weights))
        positions += last
    chunks: list[Chunk] = []
    for request, count in counts.items():
        if count > 1:
            arena, row = rows.row(request)
            first, start = request.computed, len(ids)
            ids += request.ids[first : first + count - 1]
            positions += range(first, first + count - 1)
            mask = _causal(first, count - 1, device) if first else None
            chunks.append(Chunk(arena, row, start, len(ids), first, mask))
    rope = weights.rope(max(positions) + 1)[torch.tensor(positions, device=device)]
    return Batch(torch.tensor(ids, device=device), rope, tails, chunks)


def _tails(arena: Arena, last: Sequence[int], start: int, weights: FusedWeights) -> Tails:
    kv_heads, longest = weights.config.kv_heads, max(last) + 1
    at = torch.tensor(last, device=weights.device)
    heads = torch.arange(len(last) * kv_heads, device=weights.device).view(-1, kv_heads)
    slots = (heads * arena.size + at[:, None]).flatten()
    hidden = torch.arange(longest, device=weights.device) > at[:, None]
    mask = torch.zeros(hidden.shape, dtype=weights.dtype, device=weights.device)
    mask = mask.masked_fill_(hidden, -torch.inf)[:, None, None]
    return Tails(arena, start, start + len(last), longest, slots, mask)


def _causal(first: int, count: int, device: torch.device) -> Tensor:
    return torch.ones((count, first + count), dtype=torch.bool, device=device).tril(first)


def forward(weights: FusedWeights, batch: Batch) -> Tensor:
    """Fills the caches of the batch's tokens; logits `[batch.rows, V]` of the leading ones."""
    config = weights.config
    x = weights.embedding[batch.ids]
    size, eps = (config.hidden_size,), config.norm_eps
    for index, layer in enumerate(weights.layers):
        qkv = F.linear(F.rms_norm(x, size, eps=eps), layer.qkv)
        mixed = _attend(weights, index, layer, qkv, batch)
        x = _add_product(x, mixed, layer.out)
        gate, up = F.linear(F.rms_norm(x, size, eps=eps), layer.gate_up).chunk(2, dim=-1)
        x = _add_product(x, F.silu(gate).mul_(up), layer.down)
    return F.linear(F.rms_norm(x[: batch.rows], size, eps=eps), weights.head)


def _add_product(x: Tensor, part: Tensor, matrix: Tensor) -> Tensor:
    return x.addmm_(part, matrix.t())


def _attend(
    weights: FusedWeights, index: int, layer: LayerWeights, qkv: Tensor, batch: Batch
) -> Tensor:
    """Attention of layer `index`: `[N, (H + 2 * Hkv) * d] -> [N, H * d]`."""
    config = weights.config
    heads, kv_heads, dim = config.heads, config.kv_heads, config.head_dim
    split = qkv.view(len(qkv), -1, dim)
    qk = F.rms_norm(split[:, : heads + kv_heads].float(), (dim,), eps=config.norm_eps)
    pairs = torch.view_as_complex((qk * layer.qk_scale).view(*qk.shape[:2], -1, 2))
    qk = torch.view_as_real(pairs * batch.rope).flatten(2).to(qkv.dtype)
    q, k, v = qk[:, :heads], qk[:, heads:], split[:, heads + kv_heads :]
    for chunk in batch.chunks:
        _write_chunk(chunk, index, k, v)
    for tails in batch.tails:
        _write_tails(tails, index, k, v)
    mixed = torch.empty_like(q)
    for chunk in batch.chunks:
        _attend_chunk(chunk, index, q, mixed)
    for tails in batch.tails:
        _attend_tails(tails, index, q, mixed)
    return mixed.flatten(1)


def _write_chunk(chunk: Chunk, index: int, k: Tensor, v: Tensor) -> None:
    at = slice(chunk.position, chunk.position + chunk.end - chunk.start)
    chunk.arena.keys[index, chunk.row, :, at] = k[chunk.start : chunk.end].transpose(0, 1)
    chunk.arena.values[index, chunk.row, :, at] = v[chunk.start : chunk.end].transpose(0, 1)


def _write_tails(tails: Tails, index: int, k: Tensor, v: Tensor) -> None:
    rows = slice(tails.start, tails.end)
    keys, values = tails.arena.keys[index], tails.arena.values[index]
    keys.flatten(0, 2).index_copy_(0, tails.slots, k[rows].flatten(0, 1))
    values.flatten(0, 2).index_copy_(0, tails.slots, v[rows].flatten(0, 1))


def _attend_chunk(chunk: Chunk, index: int, q: Tensor, mixed: Tensor) -> None:
    until = chunk.position + chunk.end - chunk.start
    part = F.scaled_dot_product_attention(
        q[None, chunk.start : chunk.end].transpose(1, 2),  # [1, H, n, d]
        chunk.arena.keys[index, None, chunk.row, :, :until],
        chunk.arena.values[index, None, chunk.row, :, :until],
        attn_mask=chunk.mask,
        is_causal=chunk.mask is None,
        scale=1.0,
        enable_gqa=True,
    )
    mixed[chunk.start : chunk.end] = part[0].transpose(0, 1)


def _attend_tails(tails: Tails, index: int, q: Tensor, mixed: Tensor) -> None:
    count = tails.end - tails.start
    keys = tails.arena.keys[index, :count, :, : tails.longest]
    values = tails.arena.values[index, :count, :, : tails.longest]
    grouped = q[tails.start : tails.end].view(count, keys.shape[1], -1, q.shape[-1])
    # queries [n, Hkv, G, d]: the G heads that share a key-value head are multiplied at once
    scores = torch.matmul(grouped, keys.transpose(2, 3)).add_(tails.mask)
    out = torch.matmul(scores.softmax(-1), values)
    mixed[tails.start : tails.end] = out.flatten(1, 2)
