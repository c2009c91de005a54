"""What models are asked and what that costs: prices, counts of tokens, and their sums."""

from collections.abc import Iterable
from typing import cast

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.episodes import Usage

_MAX_TOKENS = 1e12


class Price(Config):
    """What a model costs, in the currency of the budget."""

    prompt: float = Field(default=0.0, ge=0)
    """Price of a million tokens of prompts."""
    response: float = Field(default=0.0, ge=0)
    """Price of a million tokens of responses."""

    def cost(self, prompt_tokens: int, response_tokens: int) -> float:
        """What so many tokens cost."""
        return (self.prompt * prompt_tokens + self.response * response_tokens) / 1_000_000


def token_count(usage: object, *names: str) -> int | None:
    """A number of tokens in a server's answer, under the first known name; None without one."""
    given = cast(dict[object, object], usage) if isinstance(usage, dict) else {}
    for name in names:
        value = given.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_count(value):
            return round(value)
        if isinstance(value, str) and value.isdecimal() and len(value) < 12:
            return int(value)
    return None


def _is_count(value: float) -> bool:
    return 0 <= value < _MAX_TOKENS


def total_usage(parts: Iterable[Usage]) -> tuple[Usage, ...]:
    """The sum of what was spent, by role and model, in the order of their names."""
    sums: dict[tuple[str, str], Usage] = {}
    for part in parts:
        key = (part.role, part.model)
        before = sums.get(key, Usage(role=part.role, model=part.model))
        sums[key] = Usage(
            role=part.role,
            model=part.model,
            requests=before.requests + part.requests,
            prompt_tokens=before.prompt_tokens + part.prompt_tokens,
            response_tokens=before.response_tokens + part.response_tokens,
            cost=before.cost + part.cost,
        )
    return tuple(usage for _, usage in sorted(sums.items()))
