"""How much better each rollout of a prompt did than the others of its group."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from wideseek_core import Config


class AdvantageConfig(Config):
    """How the rewards of one prompt become advantages."""

    std: Literal["sample", "population", "none"] = "sample"
    """What divides the centered rewards: the standard deviation over n−1, over n, or nothing
    (Dr. GRPO, arXiv 2503.20783)."""
    eps: float = Field(default=1e-6, gt=0)
    """Added to the standard deviation."""
    min_spread: float = Field(default=0.0, ge=0)
    """Groups whose best and worst reward differ by no more than this get advantage 0."""


EQUAL_WITHIN = 1e-9
"""Rewards this close are equal: they differ by rounding alone."""


def advantages(rewards: Sequence[float], config: AdvantageConfig) -> list[float]:
    """Â_i = (R_i − mean R) / (std R + eps), over the rollouts of one prompt.

    A group of equal rewards, or of one rollout, gets exactly 0.
    """
    equal_within = max(config.min_spread, EQUAL_WITHIN)
    if len(rewards) < 2 or max(rewards) - min(rewards) <= equal_within:
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    centered = [value - mean for value in rewards]
    if config.std == "none":
        return centered
    count = len(rewards) - (config.std == "sample")
    std = math.sqrt(math.fsum(value * value for value in centered) / count)
    return [value / (std + config.eps) for value in centered]
