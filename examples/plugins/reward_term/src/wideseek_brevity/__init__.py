"""A reward term that prefers short rollouts: `rl.algorithm.reward.weights.brevity=0.1`."""

from wideseek_rl import ScoredEpisode

LONG = 20
"""Turns of all agents together that earn nothing."""


def brevity(scored: ScoredEpisode) -> float:
    """1 for a rollout without turns, falling to 0 at `LONG` turns."""
    turns = sum(len(agent.turns) for agent in scored.episode.trajectories)
    return max(0.0, 1 - turns / LONG)
