"""Keys and values of sessions between their turns, and of prefixes that others may share.

Least recently used sessions go first when room is needed; what is gone is computed again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from wideseek_rl.engine.cache import Cache, CacheShape

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
    """A session's tokens, with their keys and values in the leading part of a cache."""

    ids: list[int]
    cache: Cache
    blocks: tuple[int, ...] = ()


class Store:
    """Caches by session name."""

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self._sessions: OrderedDict[str, Stored] = OrderedDict()
        self._prefixes: dict[int, Stored] = {}
        self.tokens = 0
        """Tokens that the stored caches have room for."""

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
        held = stored.cache.room if stored is not None else 0
        return 0 if held >= length else _rounded(length) - held

    def put(self, session: str, ids: list[int], cache: Cache) -> None:
        """Remembers `ids` and their keys and values, the leading ones of `cache`.

        Only what the session has not stored yet is copied.
        """
        stored = self._sessions.get(session)
        if stored is None:
            stored = self._sessions[session] = Stored([], self.shape.session(0))
        known = common_prefix(stored.ids, ids)
        self.tokens += self.growth(session, len(ids))
        if stored.cache.room < len(ids):
            larger = self.shape.session(_rounded(len(ids)))
            larger.span(0, known).fill(stored.cache.span(0, known))
            stored.cache = larger
        stored.cache.span(known, len(ids)).fill(cache.span(known, len(ids)))
        stored.ids = ids
        self._sessions.move_to_end(session)
        self._index(stored)

    def drop(self, session: str) -> None:
        """Forgets a session, if it is known."""
        stored = self._sessions.pop(session, None)
        if stored is not None:
            self.tokens -= stored.cache.room
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
