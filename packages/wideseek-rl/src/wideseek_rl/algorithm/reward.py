"""The reward of one rollout: answer quality plus small bonuses for form and tool use."""

from pydantic import Field, model_validator

from wideseek_core import Config
from wideseek_rl.rollout.scored import ScoredEpisode


class RewardConfig(Config):
    """What a rollout earns beside its score."""

    format_bonus: float = 0.1
    """For an answer of the right form by an agent that ended by itself."""
    access_bonus: float = 0.05
    """For at least one call of `access_tool` by any agent."""
    access_tool: str = "access"
    """The tool whose use earns `access_bonus`."""
    length_penalty: float = Field(default=0.1, ge=0)
    """The most that a long turn costs."""
    length_free_tokens: int = Field(default=3000, ge=0)
    """Turns up to this long cost nothing."""
    length_full_tokens: int = Field(default=5000, gt=0)
    """Turns from this length on cost the whole `length_penalty`."""

    @model_validator(mode="after")
    def _ordered(self) -> "RewardConfig":
        if self.length_full_tokens <= self.length_free_tokens:
            raise ValueError("length_full_tokens must be greater than length_free_tokens")
        return self


def reward(scored: ScoredEpisode, config: RewardConfig) -> float:
    """R = score + format + access − penalty · clip((longest − free)/(full − free), 0, 1).

    Without a valid answer, or when the answering agent failed, R is 0 whatever was written.
    """
    if not scored.answered:
        return 0.0
    accessed = scored.count_calls(config.access_tool) > 0
    longest = max((turn.response_tokens for turn in scored.turns), default=0)
    span = config.length_full_tokens - config.length_free_tokens
    excess = min(max((longest - config.length_free_tokens) / span, 0.0), 1.0)
    bonus = config.format_bonus + config.access_bonus * accessed
    return scored.score.value + bonus - config.length_penalty * excess
