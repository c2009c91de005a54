"""What happens while an episode runs, for those who watch it live."""

from collections.abc import Callable
from dataclasses import dataclass

from wideseek_core import AgentRole, Finish, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted:
    """An agent begins."""

    agent: int
    role: AgentRole
    prompt: str
    """The question, or the subtask."""
    parent: int | None = None
    """The agent that created it; None for the agent that answers the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTaken:
    """An agent's model has answered; its calls, if any, start now."""

    agent: int
    turn: int
    """From 1."""
    turns: int
    """How many it may take."""
    text: str
    finish: Finish
    requests: int
    """How many requests it makes of its tools."""
    prompt_tokens: int = 0
    response_tokens: int = 0
    cost: float = 0.0
    """By the prices of the budget."""
    seconds: float = 0.0
    """How long the model took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswered:
    """One request is answered."""

    agent: int
    tool: str
    request: str
    ok: bool
    seconds: float
    urls: tuple[str, ...] = ()
    """Addresses of the pages that the result shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEnded:
    """An agent has ended."""

    agent: int
    role: AgentRole
    status: Status
    answer: str


Event = AgentStarted | TurnTaken | ToolAnswered | AgentEnded
OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Watches nothing."""
