"""Which numbers can be trained on."""

import math
from collections.abc import Sequence

MAX_NUMBER = 1e9
"""Rewards, advantages and log-probabilities that are farther from 0 are none: sums of their squares
would leave the range of float32."""


def is_number(value: float) -> bool:
    """Whether a value can be computed with: neither NaN, nor infinite, nor absurd."""
    return abs(value) <= MAX_NUMBER


def count_numbers(values: Sequence[float]) -> int:
    """How many of some values are numbers."""
    # All of them as a rule, which one call of C can tell: the root of the sum of squares is no less
    # than the largest value, and NaN if one is. A step has millions of tokens.
    if math.hypot(*values) <= MAX_NUMBER:
        return len(values)
    return sum(map(is_number, values))
