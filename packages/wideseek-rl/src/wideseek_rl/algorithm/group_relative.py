"""Multi-agent GRPO: rewards compared among the rollouts of a prompt (arXiv 2602.04634)."""

from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator

from wideseek_core import ConfigError
from wideseek_rl.algorithm.advantage import AdvantageConfig, equal
from wideseek_rl.algorithm.credit import credit_rule
from wideseek_rl.algorithm.protocol import AgentCredit, CreditInputs
from wideseek_rl.algorithm.selection import Selection
from wideseek_rl.algorithm.turns import TurnAlgorithm, TurnsConfig
from wideseek_rl.rollout.scored import ScoredEpisode


class GroupRelativeConfig(TurnsConfig):
    """Advantages relative to the rollouts of the same prompt."""

    kind: Literal["group_relative"] = "group_relative"
    advantage: AdvantageConfig = AdvantageConfig()
    credit: str = "rollout"
    """What an agent is credited for. `rollout`: the whole rollout, all agents alike, as in the
    paper. `table`: a subagent for the table rows that its subtask names, others for the rest.
    `key_steps`: turns that found what the answer has right for praise, the others for blame.
    Installed credit rules are chosen by their names."""
    equal_groups: Literal["keep", "drop"] = "keep"
    """Prompts whose rollouts all have the same reward teach nothing. `drop` takes the mean of a
    step over the other prompts alone (DAPO, arXiv 2503.14476); the schedule `dynamic` samples
    further prompts in their place."""

    @field_validator("credit")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            credit_rule(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return name


def group_relative(
    config: GroupRelativeConfig, selection: Selection | None = None
) -> TurnAlgorithm:
    """Multi-agent GRPO. `selection` replaces the configured choice of turns by any function."""
    rule = credit_rule(config.credit)

    def agent_advantages(
        group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> Sequence[Sequence[AgentCredit]]:
        return rule(
            CreditInputs(
                group=group,
                rewards=rewards,
                advantage=config.advantage,
                score_weight=config.reward.score_weight,
            )
        )

    def drops(rewards: Sequence[float]) -> bool:
        return config.equal_groups == "drop" and equal(rewards, config.advantage.min_spread)

    return TurnAlgorithm(config, agent_advantages, selection, drops=drops)
