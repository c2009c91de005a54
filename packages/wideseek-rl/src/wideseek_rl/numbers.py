"""Which numbers can be trained on."""

MAX_NUMBER = 1e9
"""Rewards, advantages and log-probabilities that are farther from 0 are none: sums of their squares
would leave the range of float32."""


def is_number(value: float) -> bool:
    """Whether a value can be computed with: neither NaN, nor infinite, nor absurd."""
    return abs(value) <= MAX_NUMBER
