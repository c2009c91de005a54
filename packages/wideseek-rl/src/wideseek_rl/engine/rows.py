"""Keys and values of the running requests.

A running request owns one row of an arena, a tensor whose rows all have room for the same number
of tokens. Requests of similar length so share a batched attention call that wastes little on
padding, and the rows in use are always the first ones, so that no step gathers or copies.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from wideseek_rl.engine.requests import Request

GRAIN = 64


def room_for(tokens: int) -> int:
    """The smallest arena size that holds this many tokens: 64, 128, 192, 256, 384, 512, 768, ..."""
    size = GRAIN
    while size < tokens:
        half = 1 << (size.bit_length() - 1)  # the power of two at or below
        size += half // 2 if half > GRAIN else GRAIN
    return size


@dataclass(slots=True, eq=False)
class Arena:
    """Rows of one size; `requests[i]` owns row i."""

    size: int
    keys: Tensor
    """`[L, rows, Hkv, size, d]`, zero where never written: masked scores must stay finite."""
    values: Tensor
    requests: list[Request] = field(default_factory=list[Request])

    @property
    def tokens(self) -> int:
        """Tokens it has room for."""
        return self.keys.shape[1] * self.size


@dataclass(frozen=True, slots=True)
class Shape:
    """What arenas and stored sessions are made of."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def zeros(self, rows: int, size: int) -> Tensor:
        """`[L, rows, Hkv, size, d]`."""
        shape = (self.layers, rows, self.kv_heads, size, self.head_dim)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


class Rows:
    """The arenas, and which request has which row."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.arenas: dict[int, Arena] = {}
        self._place: dict[Request, tuple[Arena, int]] = {}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, request: Request) -> bool:
        return request in self._place

    @property
    def requests(self) -> list[Request]:
        """The running ones, oldest first."""
        return list(self._place)

    @property
    def tokens(self) -> int:
        """Tokens that the arenas have room for, in use or not."""
        return sum(arena.tokens for arena in self.arenas.values())

    def row(self, request: Request) -> tuple[Arena, int]:
        """Where a request's keys and values are."""
        return self._place[request]

    def extra(self, tokens: int) -> int:
        """Tokens by which the arenas would grow to take in a request of this length."""
        size = room_for(tokens)
        arena = self.arenas.get(size)
        if arena is None:
            return size
        rows = arena.keys.shape[1]
        return rows * size if len(arena.requests) == rows else 0

    def add(self, request: Request, tokens: int) -> None:
        """Gives a request a row with room for this many tokens."""
        size = room_for(tokens)
        arena = self.arenas.get(size)
        if arena is None:
            arena = Arena(size, self.shape.zeros(1, size), self.shape.zeros(1, size))
            self.arenas[size] = arena
        if len(arena.requests) == arena.keys.shape[1]:
            arena.keys = _doubled(arena.keys)
            arena.values = _doubled(arena.values)
        self._place[request] = (arena, len(arena.requests))
        arena.requests.append(request)

    def remove(self, request: Request) -> None:
        """Frees a row; the arena's last row moves into the gap."""
        arena, row = self._place.pop(request)
        last = arena.requests.pop()
        if last is request:
            return
        used = last.computed
        moved = len(arena.requests)
        arena.keys[:, row, :, :used] = arena.keys[:, moved, :, :used]
        arena.values[:, row, :, :used] = arena.values[:, moved, :, :used]
        arena.requests[row] = last
        self._place[last] = (arena, row)

    def grow(self, request: Request, tokens: int) -> None:
        """Moves a request to a row with room for this many tokens."""
        keys, values = (part.clone() for part in self.read(request, 0, request.computed))
        self.remove(request)
        self.add(request, tokens)
        self.write(request, keys, values)

    def read(self, request: Request, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values of these tokens, views `[L, Hkv, end - start, d]`."""
        arena, row = self._place[request]
        return arena.keys[:, row, :, start:end], arena.values[:, row, :, start:end]

    def write(self, request: Request, keys: Tensor, values: Tensor) -> None:
        """Fills the leading tokens of a request's row."""
        arena, row = self._place[request]
        arena.keys[:, row, :, : keys.shape[2]] = keys
        arena.values[:, row, :, : values.shape[2]] = values

    def drop_empty(self) -> bool:
        """Frees arenas that nobody uses; false if there were none."""
        before = len(self.arenas)
        self.arenas = {size: arena for size, arena in self.arenas.items() if arena.requests}
        return len(self.arenas) < before


def _doubled(cache: Tensor) -> Tensor:
    layers, rows, *rest = cache.shape
    grown = cache.new_zeros((layers, 2 * rows, *rest))
    grown[:, :rows] = cache
    return grown
