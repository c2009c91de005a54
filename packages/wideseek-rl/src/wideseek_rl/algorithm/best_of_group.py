"""Rejection sampling: imitate the best rollouts of a prompt and ignore the others."""

from collections.abc import Sequence
from typing import Literal

from wideseek_rl.algorithm.advantage import equal
from wideseek_rl.algorithm.credit import same_for_all_agents
from wideseek_rl.algorithm.selection import Selection
from wideseek_rl.algorithm.turns import TurnAlgorithm, TurnsConfig
from wideseek_rl.rollout.scored import ScoredEpisode


class BestOfGroupConfig(TurnsConfig):
    """Advantage 1 for the best rollouts of a prompt, 0 for the others."""

    kind: Literal["best_of_group"] = "best_of_group"
    min_reward: float = 0.5
    """Rollouts of a lower reward are not imitated, even if they are the best ones."""


def best_of_group(config: BestOfGroupConfig, selection: Selection | None = None) -> TurnAlgorithm:
    """Rejection sampling. `selection` replaces the configured choice of turns by any function."""

    def agent_advantages(
        group: Sequence[ScoredEpisode], rewards: Sequence[float]
    ) -> list[list[float]]:
        best = max(rewards, default=0.0)
        good = best >= config.min_reward or equal((best, config.min_reward))
        values = [float(good and equal((value, best))) for value in rewards]
        return same_for_all_agents(group, values)

    return TurnAlgorithm(config, agent_advantages, selection)
