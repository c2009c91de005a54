"""What is cached: conversations, by session between their turns and by prefix for all."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 32
"""Prefixes are looked up at multiples of this many tokens."""


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
class CachedSequence:
    """Token ids, and the pages that hold keys and values of the leading ones."""

    ids: list[int]
    filled: int = 0
    """Tokens whose keys and values are in the pages."""
    pages: list[int] = field(default_factory=list[int])
    blocks: tuple[int, ...] = ()
    """Hashes under which it can be found by others."""

    def shared_with(self, ids: Sequence[int]) -> int:
        """Filled tokens that `ids` begins with."""
        return min(self.filled, common_prefix(self.ids, ids))


class PrefixCache:
    """Idle sessions in order of use, and an index over all prefixes, of running requests too."""

    def __init__(self) -> None:
        self._idle: OrderedDict[str, CachedSequence] = OrderedDict()
        self._prefixes: dict[int, CachedSequence] = {}

    def take(self, session: str) -> CachedSequence | None:
        """Hands over what an idle session left behind; its prefix stays indexed."""
        return self._idle.pop(session, None)

    def peek(self, session: str) -> CachedSequence | None:
        """What an idle session left behind."""
        return self._idle.get(session)

    def put(self, session: str, cached: CachedSequence) -> CachedSequence | None:
        """Keeps a session; returns what it replaces."""
        replaced = self._idle.pop(session, None)
        self._idle[session] = cached
        return replaced

    def pop_oldest(self) -> CachedSequence | None:
        """Hands over the session that has been idle longest."""
        return self._idle.popitem(last=False)[1] if self._idle else None

    def index(self, cached: CachedSequence) -> None:
        """Lets others find it by its prefix."""
        self.forget(cached)
        cached.blocks = block_hashes(cached.ids[: cached.filled])
        for block in cached.blocks:
            self._prefixes.setdefault(block, cached)

    def forget(self, cached: CachedSequence) -> None:
        """Takes it out of the index."""
        for block in cached.blocks:
            if self._prefixes.get(block) is cached:
                del self._prefixes[block]
        cached.blocks = ()

    def with_prefix(self, blocks: Sequence[int]) -> CachedSequence | None:
        """Whichever shares the most of these leading blocks."""
        for block in reversed(blocks):
            cached = self._prefixes.get(block)
            if cached is not None:
                return cached
        return None

    def clear(self) -> None:
        """Forgets all."""
        self._idle.clear()
        self._prefixes.clear()
