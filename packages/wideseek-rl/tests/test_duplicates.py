"""Groups whose members are copies of each other, and groups that only look so."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from wideseek_core import Turn
from wideseek_rl.rollout.duplicates import Duplicates, count_duplicates
from wideseek_rl.rollout.scored import ScoredEpisode
from wideseek_rl.testing import make_agent, make_scored, make_turn


def member(turn: Turn) -> ScoredEpisode:
    return make_scored(make_agent(turn, make_turn()))


def sampled(rng: random.Random, probabilities: Sequence[float], length: int) -> ScoredEpisode:
    """A response of tokens that are drawn from these probabilities."""
    ids = rng.choices(range(len(probabilities)), weights=probabilities, k=length)
    logprobs = tuple(math.log(probabilities[token]) for token in ids)
    return member(replace(make_turn((5,), ids), logprobs=logprobs))


def groups(
    probabilities: Sequence[float], length: int, *, count: int, size: int = 8, seed: int = 0
) -> list[list[ScoredEpisode]]:
    rng = random.Random(seed)
    return [[sampled(rng, probabilities, length) for _ in range(size)] for _ in range(count)]


@pytest.mark.parametrize(
    ("probabilities", "length"),
    [([0.5, 0.5], 40), ([0.5, 0.5], 2), ([0.99, 0.01], 10), ([0.9, 0.1], 6), ([1.0], 30)],
)
def test_independent_rollouts_are_never_suspicious(
    probabilities: Sequence[float], length: int
) -> None:
    for seed in range(20):
        for count in (1, 16):
            found = count_duplicates(groups(probabilities, length, count=count, seed=seed))
            assert not found.suspicious, found


@pytest.mark.parametrize(
    ("probabilities", "length", "count"),
    [([0.5, 0.5], 40, 1), ([0.9, 0.1], 12, 40), ([0.95, 0.05], 15, 60)],
)
def test_copies_are(probabilities: Sequence[float], length: int, count: int) -> None:
    copied = [
        [group[0]] * len(group) for group in groups(probabilities, length, count=count, seed=3)
    ]
    found = count_duplicates(copied)
    assert found.suspicious
    assert found.equal == found.pairs == count * 28


def test_two_copies_among_many_are_enough() -> None:
    found = groups([0.5, 0.5], 60, count=4)
    found[2][5] = found[2][1]
    counted = count_duplicates(found)
    assert counted.suspicious
    assert counted.equal == 1


def test_the_expected_number_is_that_of_the_probabilities() -> None:
    found = count_duplicates(groups([0.5, 0.5], 3, count=300))
    assert found.pairs == 300 * 28
    assert found.expected == pytest.approx(found.pairs / 8)  # every response is as likely
    assert found.equal == pytest.approx(found.expected, rel=0.1)


def test_only_answers_to_the_same_tokens_are_compared() -> None:
    turn = make_turn((5,), [1] * 40, logprob=-2.0)
    other = make_turn((6,), [1] * 40, logprob=-2.0)
    assert count_duplicates([[member(turn), member(other)]]) == Duplicates()
    assert count_duplicates([[member(turn)], [member(turn)]]) == Duplicates()
    assert count_duplicates([[member(turn), member(turn)]]).suspicious


def test_what_has_no_sound_tokens_is_left_out() -> None:
    turn = make_turn((5,), [1] * 40, logprob=-2.0)
    broken = [
        replace(turn, logprobs=()),
        replace(turn, response_ids=(), logprobs=()),
        replace(turn, logprobs=(math.nan,) * 40),
    ]
    for odd in broken:
        assert count_duplicates([[member(odd), member(odd)]]) == Duplicates()
    fixed = make_scored(replace(make_agent(turn), trained=False))
    assert count_duplicates([[fixed, fixed]]) == Duplicates()
    assert count_duplicates([[make_scored(make_agent()), make_scored(error="lost")]]).pairs <= 1
    assert count_duplicates([]) == Duplicates()
