"""Which turns train and what one token of them weighs; shared by the algorithms.

An algorithm that gives every agent of a rollout one advantage only has to say which: see
`group_relative.py` and `best_of_group.py`.
"""

from collections.abc import Callable, Sequence
from typing import cast, get_args

from pydantic import Field, field_validator

from wideseek_core import Config, Turn
from wideseek_rl.algorithm.protocol import AgentCredit, Reward
from wideseek_rl.algorithm.reward import RewardConfig, open_reward
from wideseek_rl.algorithm.selection import SELECTIONS, Selection, SelectionName
from wideseek_rl.algorithm.token_weights import NAMED, LossScale, Weighting, token_weights
from wideseek_rl.batch.samples import TrainedTurn, is_trainable, trained_tokens
from wideseek_rl.rollout.scored import ScoredEpisode

AgentAdvantages = Callable[
    [Sequence[ScoredEpisode], Sequence[float]], Sequence[Sequence[AgentCredit]]
]
"""The advantage of each agent of each rollout of one prompt, from the rollouts' rewards."""

Selected = list[tuple[int, Turn]]
"""The turns of an agent that train, with their numbers among all of its turns."""


class TurnsConfig(Config):
    """The reward, the turns that train, and the weights of their tokens."""

    reward: RewardConfig = RewardConfig()
    selection: SelectionName = "outcome"
    """Which turns train."""
    weighting: Weighting = "agent"
    """How much one token counts: `agent`, `rollout`, `token` or `constant`, or a list of scales
    that multiply, such as `[group, turn, turn_tokens]`."""
    constant_tokens: int = Field(default=1000, gt=0)
    """The length that `constant` divides by."""

    @field_validator("weighting", mode="before")
    @classmethod
    def _named(cls, weighting: object) -> object:
        if isinstance(weighting, str) and weighting not in NAMED:
            raise ValueError(f"weighting must be a list, or one of {', '.join(NAMED)}")
        scales = cast(object, weighting)
        if isinstance(scales, list | tuple):
            given = set(map(str, cast(Sequence[object], scales)))
            if unknown := sorted(given - set(get_args(LossScale))):
                known = ", ".join(get_args(LossScale))
                raise ValueError(f"no scale is named {', '.join(unknown)}; there are {known}")
        return weighting

    @field_validator("weighting")
    @classmethod
    def _each_once(cls, weighting: Weighting) -> Weighting:
        if isinstance(weighting, tuple) and len(set(weighting)) < max(len(weighting), 1):
            raise ValueError("weighting must be a list of scales, each of them once")
        return weighting


class TurnAlgorithm:
    """An `Algorithm` that gives each agent, or each of its turns, an advantage.

    Args:
        config: the reward, the turns and the weights.
        agent_advantages: the advantage of each agent of each rollout of one prompt.
        selection: replaces the configured choice of turns by any function.
        drops: whether a prompt of these rewards is left out of the step.
    """

    def __init__(
        self,
        config: TurnsConfig,
        agent_advantages: AgentAdvantages,
        selection: Selection | None = None,
        *,
        drops: Callable[[Sequence[float]], bool] = lambda _: False,
    ) -> None:
        self._constant_tokens = config.constant_tokens
        self._advantages, self._drops = agent_advantages, drops
        self._reward = open_reward(config.reward)
        self._selection = selection or SELECTIONS[config.selection]
        self.weighting: Weighting = config.weighting

    def rewards(self, group: Sequence[ScoredEpisode]) -> list[Reward]:
        """The sum of the configured terms, 0 without a valid answer."""
        return [self._reward(scored) for scored in group]

    def credit(
        self, group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[TrainedTurn]] | None:
        """The selected turns of each agent, with their advantage and the weight of their tokens."""
        if self._drops(rewards):
            return None
        selected = [self._selected(scored) for scored in group]
        tokens = [
            [[trained_tokens(turn) for _, turn in turns] for turns in agents] for agents in selected
        ]
        weights = token_weights(tokens, self.weighting, constant_tokens=self._constant_tokens)
        values = self._advantages(group, rewards)
        return [
            _trained(turns, weight, value)
            for agents, *numbers in zip(selected, weights, values, strict=True)
            for turns, weight, value in zip(agents, *numbers, strict=True)
            if turns
        ]

    def _selected(self, scored: ScoredEpisode) -> list[Selected]:
        agents = zip(scored.episode.trajectories, self._selection(scored), strict=True)
        return [
            [
                (number, turn)
                for number, (turn, trains) in enumerate(zip(agent.turns, flags, strict=True))
                if trains and agent.trained and is_trainable(turn)
            ]
            for agent, flags in agents
        ]


def _trained(turns: Selected, weights: Sequence[float], credit: AgentCredit) -> list[TrainedTurn]:
    return [
        TrainedTurn(
            turn=turn,
            weight=weight,
            advantage=credit[number] if isinstance(credit, Sequence) else credit,
        )
        for (number, turn), weight in zip(turns, weights, strict=True)
    ]
