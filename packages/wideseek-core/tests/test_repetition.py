import random

import pytest

from wideseek_core.repetition import (
    MAX_PERIOD,
    MIN_REPEATED,
    MIN_REPEATED_SHORT,
    Repeats,
    repeats_at_end,
)


def end_of_first(ids: list[int], max_repeats: int) -> int | None:
    found = repeats_at_end(ids, max_repeats)
    return None if found is None else found.end_of_first


def test_a_loop_ends_with_its_first_round() -> None:
    before, names = [1, 2, 3, 4], list(range(10, 22))
    for rounds in (8, 9, 40):
        for incomplete in range(12):
            ids = [*before, *names * rounds, *names[:incomplete]]
            assert end_of_first(ids, 3) == len(before) + len(names)


def test_one_token_and_long_sequences_repeat_too() -> None:
    assert end_of_first([5, *[7] * MIN_REPEATED_SHORT], 3) == 2
    nine = list(range(9))
    assert end_of_first([50, *nine * 11], 3) == 10
    assert len(nine * 10) < MIN_REPEATED
    assert end_of_first([50, *nine * 10], 3) is None
    long = list(range(100, 100 + MAX_PERIOD))
    assert end_of_first([1, *long * 3], 3) == 1 + MAX_PERIOD
    assert end_of_first([1, *long * 2, *long[:-1]], 3) is None
    assert end_of_first([1, *[*long, 999] * 4], 3) is None  # longer than what is looked for


def test_few_or_short_repeats_are_left_alone() -> None:
    for rule in ([30, 31] * 20, list(range(30, 36)) * 40, [30] * 200):
        # Rules under the headers of tables with twenty and with forty columns; blanks.
        assert end_of_first([1, *rule, 32], 3) is None
        assert end_of_first([1, *rule], 3) is None
    row = list(range(40, 80))
    assert end_of_first([1, *row * 3], 4) is None
    assert end_of_first([1, *row * 4], 4) == 41
    assert end_of_first([7, *range(100, 195), 7], 1) is None
    assert end_of_first([], 2) is None
    assert end_of_first([1], 2) is None


def test_a_loop_that_ended_is_no_repetition() -> None:
    assert end_of_first([*[3, 4] * 200, 5], 3) is None


@pytest.mark.parametrize("seed", range(30))
def test_what_is_kept_has_the_loop_once(seed: int) -> None:
    draw = random.Random(seed)
    before = [draw.randrange(50) for _ in range(draw.randrange(40))]
    loop = [draw.randrange(50) for _ in range(draw.randrange(1, MAX_PERIOD))]
    ids = [*before, *loop * 200][: len(before) + draw.randrange(4, 8) * max(len(loop), 70)]
    end = end_of_first(ids, 3)
    assert end is not None
    period = next(p for p in range(1, len(loop) + 1) if loop == (loop[:p] * len(loop))[: len(loop)])
    kept = ids[:end]
    assert len(kept) <= len(before) + len(loop)
    assert all(ids[at] == ids[at - period] for at in range(end, len(ids)) if at >= period)


def test_what_is_repeated_begins_with_the_first_equal_token() -> None:
    first, again = [1, 2, 3, 4], [5, 6, 3, 4]
    assert repeats_at_end([*first, *again * 70], 3) == Repeats(2, 4)
