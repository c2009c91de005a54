"""Which rows of an answer probably stand for which rows of the reference, before anyone decides.

A guess only costs space in a request: it only says which cells are worth asking about while
the keys are still open. Verdicts on cells of rows that are not joined in the end are not used.
"""

from collections.abc import Sequence
from functools import lru_cache

from wideseek_judge.rules.reference import Row
from wideseek_judge.text.canonical import canonical, fold
from wideseek_judge.verdicts import KeyMap

_MAX_PAIRS = 10_000
"""Beyond so many pairs of open rows nothing is guessed: it would take longer than a request."""


def candidate_pairs(
    rows: Sequence[Row], references: Sequence[Row], keys: Sequence[int], certain: Sequence[KeyMap]
) -> list[tuple[Row, Row]]:
    """Answer row and reference row: certain ones, and the likeliest for the others.

    `keys` are positions of key columns, `certain` what their values are called in the reference.
    """
    by_key = {tuple(row[at] for at in keys): row for row in references}
    pairs: list[tuple[Row, Row]] = []
    left: list[Row] = []
    for row in rows:
        named = zip(keys, certain, strict=True)
        known = by_key.get(tuple(names.get(row[at], row[at]) for at, names in named))
        if known is None:
            left.append(row)
        else:
            pairs.append((row, known))
    taken = {id(known) for _, known in pairs}
    free = [row for row in references if id(row) not in taken]
    if not free or len(left) * len(free) > _MAX_PAIRS:
        return pairs
    for row in left:
        likeness, best = max(((_likeness(row, gold, keys), gold) for gold in free), key=_first)
        if likeness > 0:
            pairs.append((row, best))
    return pairs


def _first(scored: tuple[float, Row]) -> float:
    return scored[0]


def _likeness(row: Row, other: Row, keys: Sequence[int]) -> float:
    """Two parts for keys that look alike, one for other cells that are equal."""
    alike = sum(_overlap(row[at], other[at]) for at in keys) / max(len(keys), 1)
    rest = [at for at in range(len(row)) if at not in keys]
    equal = sum(canonical(row[at]) == canonical(other[at]) for at in rest)
    return 2 * alike + equal / max(len(rest), 1)


def _overlap(text: str, other: str) -> float:
    """Shared pairs of characters: half for how much of the shorter text, half for both."""
    first, second = _character_pairs(text), _character_pairs(other)
    shared = len(first & second)
    return shared / (2 * min(len(first), len(second))) + shared / (len(first) + len(second))


@lru_cache(maxsize=16384)
def _character_pairs(text: str) -> frozenset[str]:
    padded = f"\n{fold(text)}\n"
    return frozenset(padded[at : at + 2] for at in range(len(padded) - 1))
