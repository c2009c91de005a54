"""What models are asked and what that costs: prices, counts of tokens, and their sums."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import cast, get_args

from pydantic import Field

from wideseek_core.config import Config
from wideseek_core.episodes import AgentRole, Episode, Usage

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


@dataclass(slots=True)
class UsageWatch:
    """What rollouts have spent so far; of those that are broken off, nothing else says it."""

    reports: list[Callable[[], tuple[Usage, ...]]] = field(
        default_factory=list[Callable[[], tuple[Usage, ...]]]
    )
    """Each gives what one rollout has spent by now."""

    def usage(self) -> tuple[Usage, ...]:
        """The sum of all rollouts, by role and model."""
        return total_usage(part for report in self.reports for part in report())


_WATCHES: ContextVar[tuple[UsageWatch, ...]] = ContextVar("usage watches", default=())


@contextmanager
def watched_usage(watch: UsageWatch | None = None) -> Generator[UsageWatch]:
    """Watches the rollouts that begin in the block, and in tasks that begin there."""
    watch = watch or UsageWatch()
    token = _WATCHES.set((*_WATCHES.get(), watch))
    try:
        yield watch
    finally:
        _WATCHES.reset(token)


def report_usage(usage: Callable[[], tuple[Usage, ...]]) -> None:
    """Has those who watch this rollout ask for what it has spent, whenever they want to know."""
    for watch in _WATCHES.get():
        watch.reports.append(usage)


def generated_tokens(episode: Episode) -> int:
    """Tokens of the responses of all agents; of turns that are not recorded, by what was spent."""
    if episode.trajectories:
        return sum(turn.response_tokens for a in episode.trajectories for turn in a.turns)
    return agents_tokens(episode.usage)


def agents_tokens(usage: Iterable[Usage]) -> int:
    """Tokens of the responses of agents: those of summaries and judges are left out."""
    return sum(part.response_tokens for part in usage if part.role in get_args(AgentRole))


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
