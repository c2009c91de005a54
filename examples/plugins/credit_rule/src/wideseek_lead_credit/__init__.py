"""A credit rule in which subagents answer for half: `rl.algorithm.credit=lead_more`."""

from wideseek_rl import CreditInputs, advantages

SUBAGENT_SHARE = 0.5


def lead_more(inputs: CreditInputs) -> list[list[float]]:
    """The rollout's advantage for its lead, and a share of it for each subagent.

    One list for each rollout of the group, one number for each of its agents.
    """
    values = advantages(inputs.rewards, inputs.advantage)
    return [
        [
            value * (SUBAGENT_SHARE if agent.role == "subagent" else 1.0)
            for agent in scored.episode.trajectories
        ]
        for scored, value in zip(inputs.group, values, strict=True)
    ]
