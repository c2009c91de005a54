"""Keys and values of sessions between their turns, and of prefixes that others may share.

Least recently used sessions go first when room is needed; what is gone is computed again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32
"""Prefixes are looked up at multiples of this many tokens."""
GRAIN = 64


def block_hashes(ids: Sequence[int]) -> tuple[int, ...]:
    """Hash i stands for the leading `(i + 1) * BLOCK` tokens."""
    hashes: list[int] = []
    chain = 0
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        chain = hash((chain, tuple(ids[start : start + BLOCK])))
        hashes.append(chain)
    return tuple(hashes)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens that are equal."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


@dataclass(slots=True, eq=False)
class Stored:
    """A session's tokens with their keys and values."""

    ids: list[int]
    keys: Tensor
    """`[L, Hkv, room, d]`, of which the leading `len(ids)` tokens are filled."""
    values: Tensor
    blocks: tuple[int, ...] = ()

    @property
    def room(self) -> int:
        """Tokens that the tensors can hold."""
        return self.keys.shape[2]


class Store:
    """Caches by session name."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Stored] = OrderedDict()
        self._prefixes: dict[int, Stored] = {}
        self.tokens = 0
        """Tokens that the stored tensors have room for."""

    def __len__(self) -> int:
        return len(self._sessions)

    def of_session(self, session: str) -> Stored | None:
        """What a session left behind; it counts as used now."""
        stored = self._sessions.get(session)
        if stored is not None:
            self._sessions.move_to_end(session)
        return stored

    def with_prefix(self, blocks: tuple[int, ...]) -> Stored | None:
        """The session that shares the most leading blocks."""
        for block in reversed(blocks):
            stored = self._prefixes.get(block)
            if stored is not None:
                return stored
        return None

    def growth(self, session: str, length: int) -> int:
        """Tokens by which the store would grow if a session came to hold `length` tokens."""
        stored = self._sessions.get(session)
        held = stored.room if stored is not None else 0
        return 0 if held >= length else _rounded(length) - held

    def put(self, session: str, ids: list[int], keys: Tensor, values: Tensor) -> None:
        """Remembers `ids`, whose keys and values `[L, Hkv, len(ids), d]` are copied.

        Only what the session has not stored yet is copied.
        """
        stored = self._sessions.get(session)
        known = common_prefix(stored.ids, ids) if stored is not None else 0
        room = _rounded(len(ids))
        if stored is None:
            stored = Stored([], _room(keys, room), _room(values, room))
            self._sessions[session] = stored
            self.tokens += room
        elif stored.room < len(ids):
            self.tokens += room - stored.room
            stored.keys = _moved(stored.keys, known, room)
            stored.values = _moved(stored.values, known, room)
        stored.keys[:, :, known : len(ids)] = keys[:, :, known:]
        stored.values[:, :, known : len(ids)] = values[:, :, known:]
        stored.ids = list(ids)
        self._sessions.move_to_end(session)
        self._index(stored)

    def drop(self, session: str) -> None:
        """Forgets a session, if it is known."""
        stored = self._sessions.pop(session, None)
        if stored is not None:
            self.tokens -= stored.room
            self._unindex(stored)

    def drop_oldest(self) -> bool:
        """Forgets the session used longest ago; false if there is none."""
        if not self._sessions:
            return False
        self.drop(next(iter(self._sessions)))
        return True

    def clear(self) -> None:
        """Forgets all."""
        self._sessions.clear()
        self._prefixes.clear()
        self.tokens = 0

    def _index(self, stored: Stored) -> None:
        self._unindex(stored)
        stored.blocks = block_hashes(stored.ids)
        for block in stored.blocks:
            self._prefixes.setdefault(block, stored)

    def _unindex(self, stored: Stored) -> None:
        for block in stored.blocks:
            if self._prefixes.get(block) is stored:
                del self._prefixes[block]


def _rounded(length: int) -> int:
    """A little more than needed, so that not every turn has to move the session."""
    return -(-(length + length // 4) // GRAIN) * GRAIN


def _room(like: Tensor, room: int) -> Tensor:
    layers, heads, _, dim = like.shape
    return torch.empty((layers, heads, room, dim), dtype=like.dtype, device=like.device)


def _moved(cache: Tensor, known: int, room: int) -> Tensor:
    grown = _room(cache, room)
    grown[:, :, :known] = cache[:, :, :known]
    return grown
