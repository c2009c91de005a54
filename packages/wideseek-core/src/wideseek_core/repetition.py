"""Responses that end by repeating the same tokens, as small models do when sampled greedily."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_PERIOD = 128
"""Longest sequence of tokens whose repeats are looked for."""
MIN_REPEATED = 96
"""Tokens that repeats take together at least."""
SHORT_PERIOD = 8
MIN_REPEATED_SHORT = 256
"""The same for sequences of at most `SHORT_PERIOD` tokens: the rule under the header of a wide
table repeats, too, and so do blanks that align its columns."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Equal sequences of tokens, one after the other, at the end of a response."""

    start: int
    """Where the first of them begins."""
    period: int
    """Tokens of each."""

    @property
    def end_of_first(self) -> int:
        """Where the first of them ends."""
        return self.start + self.period


def repeats_at_end(ids: Sequence[int], max_repeats: int) -> Repeats | None:
    """The equal sequences that a response ends with; None without such.

    They count as repeats if there are at least `max_repeats` of them, one after the other, and
    `MIN_REPEATED` tokens together (`MIN_REPEATED_SHORT` if they are short); the last may be
    incomplete. Shorter sequences come first. They begin with the first token that is the same a
    period later, which may be in the middle of what the response repeats: `C D` is repeated in
    `A B C D`, `E F C D`, `E F C D`.
    """
    for period in range(1, min(MAX_PERIOD, len(ids) // 2) + 1):
        needed = max(max(max_repeats, 2) * period, MIN_REPEATED)  # what is said once is no repeat
        if needed > len(ids) or ids[-1] != ids[-1 - period]:
            continue
        start = len(ids) - period
        while start > 0 and ids[start - 1] == ids[start - 1 + period]:
            start -= 1
        if len(ids) - start >= needed:
            # Longer periods than this are multiples of it.
            is_short = period <= SHORT_PERIOD and len(ids) - start < MIN_REPEATED_SHORT
            return None if is_short else Repeats(start, period)
    return None
