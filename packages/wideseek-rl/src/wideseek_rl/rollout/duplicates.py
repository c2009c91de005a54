"""Whether the rollouts of a prompt are independent, by the tokens of their first turns.

Engines that ignore seeds, or give every request the same one, sample a group whose members are
copies of each other: all advantages are 0, and nothing says so. Equal responses are no fault by
themselves, since a policy that is sure of itself repeats them; how often it would follows from the
log-probabilities.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from wideseek_core import Turn
from wideseek_rl.numbers import count_numbers
from wideseek_rl.rollout.scored import ScoredEpisode

MAX_CHANCE = 1e-6
"""Chance of as many equal responses below which the rollouts do not count as independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Pairs of rollouts of one prompt whose first responses are equal."""

    pairs: int = 0
    """Pairs whose first turns answer the same tokens."""
    equal: int = 0
    """Those of them with the same response."""
    expected: float = 0.0
    """As many of them would be equal on average if each were sampled for itself."""
    chance: float = 1.0
    """A bound on the probability of at least as many equal ones."""

    @property
    def suspicious(self) -> bool:
        """Whether so many equal responses are no accident."""
        return self.chance < MAX_CHANCE


def count_duplicates(groups: Sequence[Sequence[ScoredEpisode]]) -> Duplicates:
    """Compares the first turns of the answering agents within each group.

    The probability that a second sample equals a first one is, on average, that of the first.
    """
    pairs = equal = most = 0
    expected = variance = 0.0
    for group in groups:
        found = [turn for scored in group if (turn := _first_turn(scored)) is not None]
        matched = [(a, b) for a, b in combinations(found, 2) if a.prompt_ids == b.prompt_ids]
        mean = math.fsum((_probability(a) + _probability(b)) / 2 for a, b in matched)
        pairs += len(matched)
        equal += sum(a.response_ids == b.response_ids for a, b in matched)
        expected += mean
        variance += len(matched) * mean  # of a count between 0 and the number of pairs
        most = max(most, len(matched))
    chance = _chance(equal, expected, variance, most)
    return Duplicates(pairs=pairs, equal=equal, expected=expected, chance=chance)


def _first_turn(scored: ScoredEpisode) -> Turn | None:
    """The first turn of the answering agent, if it has tokens with log-probabilities."""
    agents = scored.episode.trajectories
    if not agents or not agents[0].trained or not agents[0].turns:
        return None
    turn = agents[0].turns[0]
    sound = count_numbers(turn.logprobs) == len(turn.logprobs) == len(turn.response_ids) > 0
    return turn if sound else None


def _probability(turn: Turn) -> float:
    return math.exp(min(math.fsum(turn.logprobs), 0.0))


def _chance(equal: int, expected: float, variance: float, most: int) -> float:
    """The smaller of Markov's and Bernstein's bounds; groups are independent, pairs are not."""
    above = equal - expected
    if above <= 0:
        return 1.0
    bernstein = math.exp(-(above**2) / (2 * (variance + most * above / 3)))
    return min(expected / equal, bernstein)
