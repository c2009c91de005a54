"""Keys and values of the running requests.

A running request owns one row of an arena, a tensor whose rows all have room for the same number
of tokens. Requests of similar length so share a batched attention call that wastes little on
padding, and the rows in use are always the first ones, so that no step gathers or copies.
"""

from dataclasses import dataclass, field

from wideseek_rl.engine.cache import Cache, CacheShape
from wideseek_rl.engine.requests import Request

GRAIN = 64
FEWEST_ROWS = 4


def room_for(tokens: int) -> int:
    """The smallest arena size that holds this many tokens: 64, 128, 192, 256, 320, 384, 448, ...

    Steps grow with the size, at most a fifth of it.
    """
    size = GRAIN
    while size < tokens:
        size += max(GRAIN, 1 << (size.bit_length() - 3))
    return size


@dataclass(slots=True, eq=False)
class Arena:
    """Rows of one size; `requests[i]` owns row i."""

    cache: Cache
    """`[L, rows, Hkv, ...]`"""
    requests: list[Request] = field(default_factory=list[Request])

    @property
    def size(self) -> int:
        """Tokens that a row has room for."""
        return self.cache.room

    @property
    def rows(self) -> int:
        """Rows, in use or not."""
        return self.cache.keys.shape[1]


class Rows:
    """The arenas, and which request has which row."""

    def __init__(self, shape: CacheShape) -> None:
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
        return sum(arena.rows * arena.size for arena in self.arenas.values())

    def place(self, request: Request) -> tuple[Arena, int]:
        """The arena and the row of a request."""
        return self._place[request]

    def cache(self, request: Request) -> Cache:
        """A view of a request's row, `[L, Hkv, ...]`."""
        arena, row = self._place[request]
        return arena.cache.row(row)

    def growth(self, tokens: int) -> int:
        """Tokens by which the arenas would grow to take in a request of this length."""
        size = room_for(tokens)
        arena = self.arenas.get(size)
        if arena is None:
            return size
        return _more(arena.rows) * size if len(arena.requests) == arena.rows else 0

    def add(self, request: Request, tokens: int) -> None:
        """Gives a request a row with room for this many tokens."""
        size = room_for(tokens)
        arena = self.arenas.get(size)
        if arena is None:
            arena = self.arenas[size] = Arena(self.shape.rows(1, size))
        used = len(arena.requests)
        if used == arena.rows:
            grown = self.shape.rows(used + _more(used), size)
            Cache(grown.keys[:, :used], grown.values[:, :used]).fill(arena.cache)
            arena.cache = grown
        self._place[request] = (arena, used)
        arena.requests.append(request)

    def remove(self, request: Request) -> None:
        """Frees a row; the arena's last row moves into the gap."""
        arena, row = self._place.pop(request)
        last = arena.requests.pop()
        if last is request:
            return
        moved = arena.cache.row(len(arena.requests)).span(0, last.computed)
        arena.cache.row(row).span(0, last.computed).fill(moved)
        arena.requests[row] = last
        self._place[last] = (arena, row)

    def enlarge(self, request: Request, tokens: int) -> None:
        """Moves a request to a row with room for this many tokens; it keeps its age."""
        old, row = self._place[request]
        ages = list(self._place)
        self.add(request, tokens)
        new = self._place[request]
        new[0].cache.row(new[1]).span(0, request.computed).fill(
            old.cache.row(row).span(0, request.computed)
        )
        self._place[request] = (old, row)
        self.remove(request)
        self._place[request] = new
        self._place = {aged: self._place[aged] for aged in ages}

    def drop_empty(self) -> bool:
        """Frees arenas that nobody uses; false if there were none."""
        before = len(self.arenas)
        self.arenas = {size: arena for size, arena in self.arenas.items() if arena.requests}
        return len(self.arenas) < before


def _more(rows: int) -> int:
    """Rows to add to an arena that is full."""
    return max(FEWEST_ROWS - rows, rows // 2)
