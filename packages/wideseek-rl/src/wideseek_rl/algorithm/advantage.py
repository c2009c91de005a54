"""How much better each rollout of a prompt did than the others it is compared with."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from wideseek_core import Config, Trajectory
from wideseek_rl.rollout.scored import ScoredEpisode


class AdvantageConfig(Config):
    """How the rewards of one prompt become advantages."""

    baseline: Literal["mean", "leave_one_out"] = "mean"
    """What is subtracted from a reward: the mean of all rewards, its own included, or that of the
    other rollouts (RLOO, arXiv 2402.14740)."""
    std: Literal["sample", "population", "none"] = "sample"
    """What divides the centered rewards: the standard deviation over n−1, over n, or nothing
    (Dr. GRPO, arXiv 2503.20783)."""
    eps: float = Field(default=1e-6, gt=0)
    """Added to the standard deviation."""
    min_spread: float = Field(default=0.0, ge=0)
    """Groups whose best and worst reward differ by no more than this get advantage 0."""
    pool: Literal["group", "role", "agent"] = "group"
    """Whose rewards are compared: those of all rollouts of the prompt; for each role those of the
    rollouts that have it (Dr. MAS, arXiv 2602.08847); or for each agent those of the rollouts that
    have an agent of the same number, subagents being numbered in the order they were created."""
    unit: Literal["rollout", "trajectory", "turn"] = "rollout"
    """What a reward counts once for in mean and deviation: a rollout, each agent's trajectory, or
    each turn. With `role`, `turn` is the normalisation of Dr. MAS."""


EQUAL_WITHIN = 1e-9
"""Rewards this close are equal: they differ by rounding alone."""


def advantages(
    rewards: Sequence[float], config: AdvantageConfig, counts: Sequence[int] | None = None
) -> list[float]:
    """Â_i = (R_i − b_i) / (std R + eps), over the rollouts of one prompt.

    The baseline b_i is the mean Σ c_j R_j / Σ c_j over all rollouts or over j ≠ i, with `counts` c
    saying how often each reward counts (once by default). Equal rewards, or a single one, get
    exactly 0, and so does a rollout that counts for nothing.
    """
    times = [1] * len(rewards) if counts is None else counts
    compared = [value for value, count in zip(rewards, times, strict=True) if count]
    if len(compared) < 2 or equal(compared, config.min_spread):
        return [0.0] * len(rewards)
    total, number = math.fsum(c * r for c, r in zip(times, rewards, strict=True)), sum(times)
    mean = total / number
    scale = _deviation(rewards, times, mean, config.std) + config.eps
    divisor = 1.0 if config.std == "none" else scale
    if config.baseline == "mean":
        baselines = [mean] * len(rewards)
    else:
        others = zip(times, rewards, strict=True)
        baselines = [(total - c * r) / (number - c) if c else r for c, r in others]
    return [
        (value - baseline) / divisor if count else 0.0
        for value, baseline, count in zip(rewards, baselines, times, strict=True)
    ]


def equal(rewards: Sequence[float], min_spread: float = 0.0) -> bool:
    """Whether rewards are equal but for rounding, or differ by no more than `min_spread`."""
    return max(rewards, default=0.0) - min(rewards, default=0.0) <= max(min_spread, EQUAL_WITHIN)


def agent_advantages(
    group: Sequence[ScoredEpisode], rewards: Sequence[float], config: AdvantageConfig
) -> list[list[float]]:
    """The advantage of each agent of each rollout, compared within its pool.

    An agent that no other rollout has in its pool has nothing to be compared with and gets 0.
    """
    pools: dict[str, list[int]] = defaultdict(lambda: [0] * len(group))
    for number, scored in enumerate(group):
        for agent in scored.episode.trajectories:
            counts = pools[_pool(agent, config)]
            match config.unit:
                case "rollout":
                    counts[number] = 1
                case "trajectory":
                    counts[number] += 1
                case "turn":
                    counts[number] += len(agent.turns)
    values = {name: advantages(rewards, config, counts) for name, counts in pools.items()}
    return [
        [values[_pool(agent, config)][number] for agent in scored.episode.trajectories]
        for number, scored in enumerate(group)
    ]


def _pool(agent: Trajectory, config: AdvantageConfig) -> str:
    match config.pool:
        case "group":
            return ""
        case "role":
            return agent.role
        case "agent":
            return str(agent.agent)


def _deviation(rewards: Sequence[float], times: Sequence[int], mean: float, kind: str) -> float:
    """The standard deviation of rewards that count several times."""
    if kind == "none":
        return 0.0
    squares = math.fsum(c * (r - mean) * (r - mean) for c, r in zip(times, rewards, strict=True))
    return math.sqrt(squares / (sum(times) - (kind == "sample")))
