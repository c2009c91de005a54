"""What a rollout may spend, and what it has spent, by role and model."""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from wideseek_core import Config, Reply, Usage
from wideseek_core.usage import Price

Resource = Literal["seconds", "tokens", "cost"]


class BudgetConfig(Config):
    """What one rollout may spend, over all its agents. Null means no limit."""

    max_seconds: float | None = Field(default=None, gt=0)
    """Wall-clock time after which subagents end and the answering agent is asked for its answer."""
    answer_seconds: float = Field(default=120.0, gt=0)
    """Time that the answering agent has for its answer after `max_seconds`."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens of prompts and responses, summed over all requests."""
    max_tool_calls: int | None = Field(default=None, ge=0)
    """Requests to tools: queries, pages and subtasks."""
    max_cost: float | None = Field(default=None, gt=0)
    """Money, by the `prices` of the models."""
    prices: dict[str, Price] = Field(default_factory=dict[str, Price])
    """Prices by the name of the model; `*` is any other."""


@dataclass(slots=True)
class _Spent:
    requests: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    cost: float = 0.0


@dataclass(slots=True)
class Ledger:
    """The spending of one rollout."""

    budget: BudgetConfig
    tool_calls: int = 0
    _spent: dict[tuple[str, str], _Spent] = field(default_factory=dict[tuple[str, str], _Spent])

    def spend(self, role: str, reply: Reply) -> float:
        """Counts a reply, and returns what it cost."""
        price = self.budget.prices.get(reply.model) or self.budget.prices.get("*") or Price()
        cost = price.cost(reply.prompt_tokens, reply.response_tokens)
        spent = self._spent.setdefault((role, reply.model), _Spent())
        spent.requests += 1
        spent.prompt_tokens += reply.prompt_tokens
        spent.response_tokens += reply.response_tokens
        spent.cost += cost
        return cost

    def exhausted(self, seconds: float) -> Resource | None:
        """What is used up after so many seconds; None if the rollout may continue."""
        budget = self.budget
        spent = self._spent.values()
        tokens = sum(part.prompt_tokens + part.response_tokens for part in spent)
        if budget.max_seconds is not None and seconds >= budget.max_seconds:
            return "seconds"
        if budget.max_tokens is not None and tokens >= budget.max_tokens:
            return "tokens"
        if budget.max_cost is not None and sum(part.cost for part in spent) >= budget.max_cost:
            return "cost"
        return None

    def calls_left(self) -> int | None:
        """How many requests to tools are left; None for any number."""
        limit = self.budget.max_tool_calls
        return None if limit is None else max(0, limit - self.tool_calls)

    def usage(self) -> tuple[Usage, ...]:
        """What was spent, by role and model."""
        return tuple(
            Usage(
                role=role,
                model=model,
                requests=spent.requests,
                prompt_tokens=spent.prompt_tokens,
                response_tokens=spent.response_tokens,
                cost=spent.cost,
            )
            for (role, model), spent in sorted(self._spent.items())
        )
