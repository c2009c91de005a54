"""How much better each rollout of a question did than its siblings."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from wideseek_core import Config


class AdvantageConfig(Config):
    """How rewards of one question become advantages."""

    std: Literal["sample", "population", "none"] = "sample"
    """What divides the centred rewards: the standard deviation over n−1, over n, or nothing
    (Dr. GRPO, arXiv 2503.20783)."""
    eps: float = Field(default=1e-6, gt=0)
    """Added to the standard deviation."""
    min_spread: float = Field(default=0.0, ge=0)
    """Groups whose best and worst reward differ by no more than this get advantage 0."""


def advantages(rewards: Sequence[float], config: AdvantageConfig) -> list[float]:
    """Â_i = (R_i − mean R) / (std R + eps), over the rollouts of one question.

    A group of equal rewards, or of one rollout, gets exactly 0.
    """
    if len(rewards) < 2 or max(rewards) - min(rewards) <= config.min_spread:
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    centred = [value - mean for value in rewards]
    if config.std == "none":
        return centred
    count = len(rewards) - (config.std == "sample")
    std = math.sqrt(math.fsum(value * value for value in centred) / count)
    return [value / (std + config.eps) for value in centred]
