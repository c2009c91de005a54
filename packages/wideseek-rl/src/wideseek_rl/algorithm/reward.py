"""The reward of one rollout: a weighted sum of named terms.

R = Σ_k w_k · term_k for a valid answer of an agent that ended by itself, else 0 (or the length term
alone, see `length_of_failed`). Terms of installed
distributions (entry points of `wideseek.reward_terms`, each a `RewardTerm`) take part by their name
and a weight: `reward.weights.NAME=0.2`.
"""

from collections.abc import Callable, Mapping
from typing import cast

from pydantic import Field, field_validator, model_validator

from wideseek_core import Config, ConfigError
from wideseek_core.plugins import installed
from wideseek_rl.algorithm.protocol import Reward, RewardTerm
from wideseek_rl.rollout.scored import ScoredEpisode

REWARD_TERMS = "wideseek.reward_terms"
"""Entry-point group of further terms."""

DEFAULT_WEIGHTS = {"score": 1.0, "format": 0.1, "access": 0.05, "length": -0.1}


class RewardConfig(Config):
    """The terms of the reward and their weights."""

    weights: dict[str, float] = DEFAULT_WEIGHTS
    """Weight of each term; terms that are not named keep their default. `score`: the judge's score,
    in [0, 1]. `format`: 1 for every valid answer. `access`: 1 if any agent called `access_tool`.
    `length`: from 0 to 1 as the longest turn grows from `length_free_tokens` to
    `length_full_tokens`. Installed terms are added by their names."""
    access_tool: str = "access"
    """The tool that the term `access` looks for."""
    length_free_tokens: int = Field(default=3000, ge=0)
    """Turns up to this length cost nothing."""
    length_full_tokens: int = Field(default=5000, gt=0)
    """Turns from this length on cost the whole weight of `length`."""
    length_of_failed: bool = False
    """Whether `length` counts without a valid answer, too, as in DAPO (arXiv 2503.14476): then such
    a reward may be below 0."""

    @field_validator("weights", mode="before")
    @classmethod
    def _complete(cls, value: object) -> object:
        return {**DEFAULT_WEIGHTS, **cast(dict[str, object], value)} if _is_dict(value) else value

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            if name not in DEFAULT_WEIGHTS and name not in installed(REWARD_TERMS):
                known = ", ".join([*DEFAULT_WEIGHTS, *installed(REWARD_TERMS)])
                raise ValueError(f"no reward term is named {name!r}; there are {known}")
        return weights

    @model_validator(mode="after")
    def _ordered(self) -> "RewardConfig":
        if self.length_full_tokens <= self.length_free_tokens:
            raise ValueError("length_full_tokens must be greater than length_free_tokens")
        return self

    @property
    def score_weight(self) -> float:
        """The weight of the judge's score."""
        return self.weights["score"]


def open_reward(config: RewardConfig) -> Callable[[ScoredEpisode], Reward]:
    """The reward function of a configuration. Raises `ConfigError` for an unusable plug-in."""
    terms = _terms(config)

    def reward(scored: ScoredEpisode) -> Reward:
        if not scored.answered:
            nothing = dict.fromkeys(terms, 0.0)
            if config.length_of_failed:
                nothing["length"] = config.weights["length"] * _excess_length(scored, config)
            return Reward(terms=nothing)
        values = {name: config.weights[name] * float(term(scored)) for name, term in terms.items()}
        return Reward(terms=values)

    return reward


def _terms(config: RewardConfig) -> Mapping[str, RewardTerm]:
    """The function of every term that has a weight, in a fixed order."""
    terms: dict[str, RewardTerm] = {
        "score": lambda scored: scored.score.value,
        "format": lambda scored: 1.0,
        "access": lambda scored: float(scored.count_calls(config.access_tool) > 0),
        "length": lambda scored: _excess_length(scored, config),
    }
    for name in config.weights:
        if name in terms:
            continue
        term = installed(REWARD_TERMS)[name]
        if not callable(term):
            raise ConfigError(f"plug-in {name!r} of {REWARD_TERMS} is not a function")
        terms[name] = cast(RewardTerm, term)
    return terms


def _excess_length(scored: ScoredEpisode, config: RewardConfig) -> float:
    """clip((longest turn − free) / (full − free), 0, 1), in tokens."""
    longest = max((turn.response_tokens for turn in scored.turns), default=0)
    span = config.length_full_tokens - config.length_free_tokens
    return min(max((longest - config.length_free_tokens) / span, 0.0), 1.0)


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)
