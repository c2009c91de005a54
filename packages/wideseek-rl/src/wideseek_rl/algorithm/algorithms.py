"""RL algorithms: from the scored rollouts of a question to what each turn's tokens count for.

An algorithm is plain Python over plain data. The trainer calls its two hooks for each question of
a step and knows nothing else of it; `question_scale` and `build_samples` do the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import Field

from wideseek_core import Config, Turn
from wideseek_rl.algorithm.advantage import AdvantageConfig, advantages
from wideseek_rl.algorithm.reward import RewardConfig, reward
from wideseek_rl.algorithm.selection import SELECTIONS, Selection, SelectionName
from wideseek_rl.algorithm.table_credit import table_advantages
from wideseek_rl.algorithm.token_weights import Weighting, question_scale, token_weights
from wideseek_rl.batch.samples import TrainedTurn, TrainingSample, build_samples
from wideseek_rl.rollout.scored import ScoredEpisode


class Algorithm(Protocol):
    """Turns outcomes into credit. Both hooks see only rollouts that are `usable`."""

    weighting: Weighting

    def rewards(self, group: Sequence[ScoredEpisode]) -> list[float]:
        """The reward of each rollout of one question."""
        ...

    def credit(
        self, group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[TrainedTurn]]:
        """The trained turns of one question, one list for each agent that has any."""
        ...


class GroupRelativeConfig(Config):
    """Multi-agent GRPO: outcome rewards, compared among the rollouts of a question."""

    kind: Literal["group_relative"] = "group_relative"
    reward: RewardConfig = RewardConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    credit: Literal["rollout", "table"] = "rollout"
    """What an agent is credited for. `rollout`: the whole rollout, all agents alike, as in the
    paper. `table`: a subagent for the table rows that its subtask names, others for the rest."""
    selection: SelectionName = "outcome"
    """Which turns train."""
    weighting: Weighting = "agent"
    """How much one token counts."""
    constant_tokens: int = Field(default=1000, gt=0)
    """The length that `weighting: constant` divides by."""


class BestOfGroupConfig(Config):
    """Rejection sampling: imitate the best rollouts of a question, ignore the others."""

    kind: Literal["best_of_group"] = "best_of_group"
    reward: RewardConfig = RewardConfig()
    min_reward: float = 0.5
    """A best rollout below this is not imitated."""
    selection: SelectionName = "outcome"
    """Which turns train."""
    weighting: Weighting = "agent"
    """How much one token counts."""


AlgorithmConfig = Annotated[GroupRelativeConfig | BestOfGroupConfig, Field(discriminator="kind")]
"""Any algorithm, told apart by `kind`."""


class GroupRelative:
    """Group-normalised advantages, the same for every token of an agent.

    Under its default configuration the multi-agent GRPO of WideSeek-R1 (arXiv 2602.04634), in which
    all agents of a rollout have the same. `selection` replaces the configured choice of turns by
    any function.
    """

    def __init__(self, config: GroupRelativeConfig, selection: Selection | None = None) -> None:
        self._config = config
        self._selection = selection or SELECTIONS[config.selection]
        self.weighting: Weighting = config.weighting

    def rewards(self, group: Sequence[ScoredEpisode]) -> list[float]:
        """Score plus bonuses, 0 without a valid answer."""
        return [reward(scored, self._config.reward) for scored in group]

    def credit(
        self, group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[TrainedTurn]]:
        """Every selected turn with the advantage of its rollout, or of its agent's rows."""
        config = self._config
        if config.credit == "table":
            values = table_advantages(group, rewards, config.advantage)
        else:
            values = _alike(group, advantages(rewards, config.advantage))
        return _weigh(group, values, self._selection, self.weighting, config.constant_tokens)


class BestOfGroup:
    """Advantage 1 for the best rollouts of a question, 0 for the others."""

    def __init__(self, config: BestOfGroupConfig, selection: Selection | None = None) -> None:
        self._config = config
        self._selection = selection or SELECTIONS[config.selection]
        self.weighting: Weighting = config.weighting

    def rewards(self, group: Sequence[ScoredEpisode]) -> list[float]:
        """Score plus bonuses, 0 without a valid answer."""
        return [reward(scored, self._config.reward) for scored in group]

    def credit(
        self, group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[TrainedTurn]]:
        """The selected turns of the best rollouts."""
        best = max(rewards, default=0.0)
        good = best >= self._config.min_reward
        values = [float(good and value == best) for value in rewards]
        return _weigh(group, _alike(group, values), self._selection, self.weighting, 1)


def make_algorithm(config: GroupRelativeConfig | BestOfGroupConfig) -> Algorithm:
    """The algorithm that a configuration names."""
    match config:
        case GroupRelativeConfig():
            return GroupRelative(config)
        case BestOfGroupConfig():
            return BestOfGroup(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatch:
    """What one step trains on, and what was left out."""

    samples: list[TrainingSample]
    rewards: list[list[float]]
    """Of the usable rollouts, per question."""
    dropped: int
    """Rollouts that broke or were not scored."""
    zero_variance: int
    """Questions whose usable rollouts all earned the same."""


def build_step_batch(groups: Sequence[Sequence[ScoredEpisode]], algorithm: Algorithm) -> StepBatch:
    """Rows of all questions of a step, weighted so that the questions' mean is the objective."""
    usable = [[scored for scored in group if scored.usable] for group in groups]
    kept = [group for group in usable if group]
    rewards = [algorithm.rewards(group) for group in kept]
    credits = [algorithm.credit(group, r) for group, r in zip(kept, rewards, strict=True)]
    turns = [turn for agents in credits for agent in agents for turn in agent]
    tokens = sum(len(turn.turn.response_ids) for turn in turns)
    scale = question_scale(algorithm.weighting, questions=len(kept), tokens=tokens)
    samples = [
        sample.scaled(scale)
        for number, agents in enumerate(credits)
        for agent in agents
        for sample in build_samples(agent, group=number)
    ]
    return StepBatch(
        samples=samples,
        rewards=rewards,
        dropped=sum(map(len, groups)) - sum(map(len, kept)),
        zero_variance=sum(max(values) == min(values) for values in rewards),
    )


def _alike(group: Sequence[ScoredEpisode], values: Sequence[float]) -> list[list[float]]:
    """The value of each rollout for each of its agents."""
    return [
        [value] * len(scored.episode.trajectories)
        for scored, value in zip(group, values, strict=True)
    ]


def _weigh(
    group: Sequence[ScoredEpisode],
    values: Sequence[Sequence[float]],
    selection: Selection,
    weighting: Weighting,
    constant_tokens: int,
) -> list[list[TrainedTurn]]:
    """The selected turns of each agent, with its value and the weights their lengths give them."""
    chosen = [_selected(scored, selection) for scored in group]
    tokens = [
        [sum(len(turn.response_ids) for turn in agent) for agent in agents] for agents in chosen
    ]
    weights = token_weights(tokens, weighting, constant_tokens=constant_tokens)
    return [
        [TrainedTurn(turn=turn, weight=weight, advantage=value) for turn in agent]
        for agents, row, rollout in zip(chosen, weights, values, strict=True)
        for agent, weight, value in zip(agents, row, rollout, strict=True)
        if agent
    ]


def _selected(scored: ScoredEpisode, selection: Selection) -> list[list[Turn]]:
    agents = zip(scored.episode.trajectories, selection(scored), strict=True)
    return [
        [turn for turn, trains in zip(agent.turns, flags, strict=True) if trains]
        for agent, flags in agents
    ]
