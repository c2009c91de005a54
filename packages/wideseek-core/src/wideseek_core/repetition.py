"""Responses that end by repeating the same tokens, as small models do when sampled greedily."""

from collections.abc import Sequence

MAX_PERIOD = 128
"""Longest sequence of tokens whose repeats are looked for."""
MIN_REPEATED = 96
"""Tokens that repeats take together at least: the rule under a table's header repeats, too."""


def end_of_first(ids: Sequence[int], max_repeats: int) -> int | None:
    """Where the first of the equal sequences ends that a response ends with; None without such.

    They count as repeats if there are at least `max_repeats` of them, one after the other, and
    `MIN_REPEATED` tokens together; the last may be incomplete. Shorter sequences come first.
    """
    for period in range(1, min(MAX_PERIOD, len(ids) // 2) + 1):
        needed = max(max_repeats * period, MIN_REPEATED)
        if needed > len(ids) or ids[-1] != ids[-1 - period]:
            continue
        start = len(ids) - period
        while start > 0 and ids[start - 1] == ids[start - 1 + period]:
            start -= 1
        if len(ids) - start >= needed:
            return start + period
    return None
