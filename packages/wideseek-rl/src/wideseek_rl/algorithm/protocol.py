"""The interfaces of the algorithm: rewards, credit rules, and the two hooks of an algorithm."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wideseek_rl.algorithm.advantage import AdvantageConfig
from wideseek_rl.algorithm.token_weights import Weighting
from wideseek_rl.batch.samples import TrainedTurn
from wideseek_rl.numbers import is_number
from wideseek_rl.rollout.scored import ScoredEpisode


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """The reward of one rollout, by named terms.

    Example: `Reward(terms={"score": 0.8, "format": 0.1}).value == 0.9`
    """

    terms: Mapping[str, float]
    """What each term contributes, its weight included."""

    @property
    def value(self) -> float:
        """The sum of the terms."""
        return math.fsum(self.terms.values())

    @property
    def finite(self) -> bool:
        """False if a term is no number (see `is_number`): such a rollout is not trained on."""
        return all(map(is_number, self.terms.values()))


RewardTerm = Callable[[ScoredEpisode], float]
"""A reward term before its weight. It is only asked about rollouts with a valid answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditInputs:
    """What a credit rule knows about the rollouts of one prompt."""

    group: Sequence[ScoredEpisode]
    rewards: Sequence[float]
    """The reward of each rollout as a whole."""
    advantage: AdvantageConfig
    """How numbers that are compared within the group become advantages."""
    score_weight: float
    """The weight of the judge's score in the reward."""


AgentCredit = float | Sequence[float]
"""The advantage of an agent: one for all of its turns, or one for each turn that it made."""

CreditRule = Callable[[CreditInputs], Sequence[Sequence[AgentCredit]]]
"""The advantage of each agent of each rollout, in the order of `Episode.trajectories`."""


class Algorithm(Protocol):
    """Turns outcomes into credit. Both hooks see only rollouts that are `usable`."""

    weighting: Weighting

    def rewards(self, group: Sequence[ScoredEpisode]) -> list[Reward]:
        """The reward of each rollout of one prompt."""
        ...

    def credit(
        self, group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[TrainedTurn]] | None:
        """The trained turns of one prompt, one list for each agent that has any.

        None leaves the prompt out of the step, so that the mean is one over the others. Rollouts
        whose reward is not finite have been left out of the group.
        """
        ...
