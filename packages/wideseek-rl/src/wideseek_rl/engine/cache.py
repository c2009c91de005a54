"""Tensors of keys and values.

Keys stand with tokens last, values with tokens before the head dimension: attention then reads both
row by row, which `attention.py` depends on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True, eq=False)
class Cache:
    """Keys `[..., d, T]` and values `[..., T, d]` of the same tokens."""

    keys: Tensor
    values: Tensor

    @property
    def room(self) -> int:
        """Tokens that it can hold (T)."""
        return self.keys.shape[-1]

    def span(self, start: int, end: int) -> "Cache":
        """A view of some tokens."""
        return Cache(self.keys[..., start:end], self.values[..., start:end, :])

    def row(self, index: int) -> "Cache":
        """A view of one row of `[L, rows, Hkv, ...]`, `[L, Hkv, ...]`."""
        return Cache(self.keys[:, index], self.values[:, index])

    def fill(self, other: "Cache") -> None:
        """Copies `other`, of the same shape, into this one."""
        self.keys.copy_(other.keys)
        self.values.copy_(other.values)


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What caches of a model have in common."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def rows(self, rows: int, room: int) -> Cache:
        """Zeros, `[L, rows, Hkv, ...]`: masked scores of unwritten tokens must stay finite."""
        leading = (self.layers, rows, self.kv_heads)
        return Cache(
            torch.zeros((*leading, self.head_dim, room), dtype=self.dtype, device=self.device),
            torch.zeros((*leading, room, self.head_dim), dtype=self.dtype, device=self.device),
        )

    def session(self, room: int) -> Cache:
        """Room for one session, `[L, Hkv, ...]`, not initialised."""
        leading = (self.layers, self.kv_heads)
        return Cache(
            torch.empty((*leading, self.head_dim, room), dtype=self.dtype, device=self.device),
            torch.empty((*leading, room, self.head_dim), dtype=self.dtype, device=self.device),
        )
