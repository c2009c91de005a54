"""Which turns train and what one token of them weighs; shared by the algorithms.

An algorithm that gives every agent of a rollout one advantage only has to say which: see
`group_relative.py` and `best_of_group.py`.
"""

from collections.abc import Callable, Sequence

from pydantic import Field

from wideseek_core import Config, Turn
from wideseek_rl.algorithm.protocol import Reward
from wideseek_rl.algorithm.reward import RewardConfig, open_reward
from wideseek_rl.algorithm.selection import SELECTIONS, Selection, SelectionName
from wideseek_rl.algorithm.token_weights import Weighting, token_weights
from wideseek_rl.batch.samples import TrainedTurn, is_trainable
from wideseek_rl.rollout.scored import ScoredEpisode

AgentAdvantages = Callable[[Sequence[ScoredEpisode], Sequence[float]], list[list[float]]]
"""The advantage of each agent of each rollout of one prompt, from the rollouts' rewards."""


class TurnsConfig(Config):
    """The reward, the turns that train, and the weights of their tokens."""

    reward: RewardConfig = RewardConfig()
    selection: SelectionName = "outcome"
    """Which turns train."""
    weighting: Weighting = "agent"
    """How much one token counts."""
    constant_tokens: int = Field(default=1000, gt=0)
    """The length that `weighting: constant` divides by."""


class TurnAlgorithm:
    """An `Algorithm` of one advantage an agent.

    Args:
        config: the reward, the turns and the weights.
        agent_advantages: the advantage of each agent of each rollout of one prompt.
        selection: replaces the configured choice of turns by any function.
    """

    def __init__(
        self,
        config: TurnsConfig,
        agent_advantages: AgentAdvantages,
        selection: Selection | None = None,
    ) -> None:
        self._constant_tokens = config.constant_tokens
        self._advantages = agent_advantages
        self._reward = open_reward(config.reward)
        self._selection = selection or SELECTIONS[config.selection]
        self.weighting: Weighting = config.weighting

    def rewards(self, group: Sequence[ScoredEpisode]) -> list[Reward]:
        """The sum of the configured terms, 0 without a valid answer."""
        return [self._reward(scored) for scored in group]

    def credit(
        self, group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[TrainedTurn]]:
        """The selected turns of each agent, with its advantage and the weight of their tokens."""
        selected = [self._selected(scored) for scored in group]
        tokens = [
            [sum(len(turn.response_ids) for turn in turns) for turns in agents]
            for agents in selected
        ]
        weights = token_weights(tokens, self.weighting, constant_tokens=self._constant_tokens)
        values = self._advantages(group, rewards)
        return [
            [TrainedTurn(turn=turn, weight=weight, advantage=value) for turn in turns]
            for agents, *numbers in zip(selected, weights, values, strict=True)
            for turns, weight, value in zip(agents, *numbers, strict=True)
            if turns
        ]

    def _selected(self, scored: ScoredEpisode) -> list[list[Turn]]:
        agents = zip(scored.episode.trajectories, self._selection(scored), strict=True)
        return [
            [t for t, trains in zip(agent.turns, flags, strict=True) if trains and is_trainable(t)]
            for agent, flags in agents
        ]
