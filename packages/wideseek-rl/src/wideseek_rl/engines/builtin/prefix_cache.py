"""The cached conversations, by session between their turns and by prefix for all."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE


def block_hashes(ids: Sequence[int]) -> tuple[int, ...]:
    """Hash i identifies the leading `(i + 1) * BLOCK_SIZE` tokens."""
    hashes: list[int] = []
    chain = 0
    for start in range(0, len(ids) - BLOCK_SIZE + 1, BLOCK_SIZE):
        chain = hash((chain, tuple(ids[start : start + BLOCK_SIZE])))
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
    """Token ids, and the blocks of memory that hold keys and values of the leading ones."""

    ids: list[int]
    filled: int = 0
    """Tokens whose keys and values are in the blocks."""
    block_ids: list[int] = field(default_factory=list[int])
    hashes: tuple[int, ...] = ()
    """Hashes of its leading blocks, under which others find it."""

    def shared_with(self, ids: Sequence[int]) -> int:
        """Filled tokens that `ids` begins with."""
        return min(self.filled, common_prefix(self.ids, ids))


class PrefixCache:
    """Idle sessions in order of use, and an index over all prefixes, of running requests too."""

    def __init__(self) -> None:
        self._idle: OrderedDict[str, CachedSequence] = OrderedDict()
        self._prefixes: dict[int, CachedSequence] = {}

    def take(self, session: str) -> CachedSequence | None:
        """Removes and returns the sequence of an idle session; its prefix stays indexed."""
        return self._idle.pop(session, None)

    def peek(self, session: str) -> CachedSequence | None:
        """The sequence of an idle session."""
        return self._idle.get(session)

    def put(self, session: str, cached: CachedSequence) -> CachedSequence | None:
        """Keeps the sequence of a session; returns the one it replaces."""
        replaced = self._idle.pop(session, None)
        self._idle[session] = cached
        return replaced

    def pop_oldest(self) -> CachedSequence | None:
        """Removes and returns the sequence of the session that has been idle longest."""
        return self._idle.popitem(last=False)[1] if self._idle else None

    def index(self, cached: CachedSequence) -> None:
        """Lets others find it by its prefix."""
        self.forget(cached)
        cached.hashes = block_hashes(cached.ids[: cached.filled])
        for block_hash in cached.hashes:
            self._prefixes.setdefault(block_hash, cached)

    def forget(self, cached: CachedSequence) -> None:
        """Removes it from the index."""
        for block_hash in cached.hashes:
            if self._prefixes.get(block_hash) is cached:
                del self._prefixes[block_hash]
        cached.hashes = ()

    def with_prefix(self, hashes: Sequence[int]) -> CachedSequence | None:
        """The sequence that shares the most of these leading blocks."""
        for block_hash in reversed(hashes):
            cached = self._prefixes.get(block_hash)
            if cached is not None:
                return cached
        return None

    def clear(self) -> None:
        """Drops everything."""
        self._idle.clear()
        self._prefixes.clear()
