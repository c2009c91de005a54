"""Which numbers can be trained on."""

import math

import pytest

from wideseek_rl.numbers import MAX_NUMBER, count_numbers, is_number


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ((), 0),
        ((-0.5, 0.0, -30.0), 3),
        ((-0.5, math.nan, -30.0), 2),
        ((math.nan,), 0),
        ((math.inf, math.nan, -math.inf, 1.0), 1),
        ((MAX_NUMBER, -MAX_NUMBER, MAX_NUMBER), 3),  # of which no sum of squares is below the bound
        ((2 * MAX_NUMBER, -2 * MAX_NUMBER, -1.0), 1),
        ((-1e300, -1e300), 0),
        ([-0.25] * 100_000, 100_000),
    ],
)
def test_numbers_are_counted(values: tuple[float, ...], numbers: int) -> None:
    assert count_numbers(values) == numbers == sum(map(is_number, values))
