"""What a rollout leaves behind: turns, trajectories (one per agent), episodes (one per rollout)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from wideseek_core.json_text import Number
from wideseek_core.messages import ToolCall, ToolResult
from wideseek_core.policy import Reply
from wideseek_core.text import after_thinking


class Status(StrEnum):
    """How an agent ended."""

    FINISHED = "finished"
    """A turn without tool calls."""
    TURN_CUT = "turn_cut"
    """A response reached the token limit of one turn."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The question does not fit the context window, or a response filled what was left of it."""
    MESSAGE_OVERFLOW = "message_overflow"
    """The results of a turn's tools do not fit the context window."""
    TURN_LIMIT = "turn_limit"
    """The last turn still called tools."""
    BUDGET_LIMIT = "budget_limit"
    """The rollout's budget of time, tokens or money was spent."""
    REPETITION = "repetition"
    """A response of extreme length that was cut off, or one that is no answer without the repeats
    at its end."""
    ABORTED = "aborted"
    """The engine gave a response up, the agent was late, or the rollout was cancelled."""
    ERROR = "error"
    """The policy failed; see the trajectory's `error`."""

    @property
    def failed(self) -> bool:
        """True for every end but `FINISHED`."""
        return self is not Status.FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Reply):
    """One assistant turn: the model's reply, and what its tools answered."""

    calls: tuple[ToolCall, ...] = ()
    """Valid calls, after dropping malformed ones and those over the limit."""
    dropped_calls: int = 0
    """Malformed calls, invalid requests, and requests over a limit."""
    results: tuple[ToolResult, ...] = ()
    """Results of the requests of `calls`, in order."""
    notes: tuple[str, ...] = ()
    """What the model was shown about calls and requests that were not made."""
    started_s: float = 0.0
    """When the model was asked, in seconds since the episode began."""
    seconds: float = 0.0
    """How long the model took."""


AgentRole = Literal["lead", "subagent", "single"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One agent's turns, in order."""

    agent: int
    """0 is the agent that answers the user; subagents count up in order of creation."""
    role: AgentRole
    """A label for reports and metrics; nothing in the loop branches on it."""
    status: Status
    turns: tuple[Turn, ...]
    prompt: str = ""
    """What the agent was asked: the question, or its subtask."""
    answer: str = ""
    """The final text, after the thinking; empty if the agent failed."""
    error: str = ""
    """Why the policy failed; empty otherwise."""
    parent: int | None = None
    """The agent that created this one; None for the agent that answers the user."""
    parent_turn: int = 0
    """The turn of `parent` that created this agent, counted from 0."""
    started_s: float = 0.0
    """When the agent began, in seconds since the episode began."""
    seconds: float = 0.0
    """How long the agent took."""
    trained: bool = True
    """Whether its model is the one in training; false for a role whose model stays as it is."""

    @property
    def cut_text(self) -> str:
        """What an agent whose last response was cut off wrote of its answer; empty for others."""
        cut = self.status in (Status.TURN_CUT, Status.CONTEXT_OVERFLOW, Status.REPETITION)
        return after_thinking(self.turns[-1].text) if cut and self.turns else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one role has asked of one model."""

    role: str
    """`lead`, `subagent`, `single`, `summary` for summaries of pages, or `judge`."""
    model: str
    """Name of the model; empty for a local one."""
    requests: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    cost: float = 0.0
    """By the prices of the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One rollout of one task."""

    task_id: str
    trial: int
    """Index of the rollout among those of the same task."""
    trajectories: tuple[Trajectory, ...]
    """The answering agent first."""
    answer: str = ""
    """The answering agent's final text."""
    error: str = ""
    """Why the rollout could not be completed (policy failure); empty otherwise."""
    seconds: Number = 0.0
    started_at: Number = 0.0
    """When it began, in seconds since 1970 (UTC)."""
    usage: tuple[Usage, ...] = ()
    """Requests, tokens and cost by role and model."""

    @property
    def main(self) -> Trajectory:
        """The trajectory of the agent that answers the user."""
        return self.trajectories[0]
