"""What a rollout leaves behind: turns, trajectories (one per agent), episodes (one per rollout)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from wideseek_core.json_text import Number
from wideseek_core.messages import ToolCall, ToolResult
from wideseek_core.policy import Finish
from wideseek_core.versions import VersionSpans, oldest


class Status(StrEnum):
    """How an agent ended."""

    FINISHED = "finished"
    """A turn without tool calls."""
    CONTEXT_OVERFLOW = "context_overflow"
    """A response filled what was left of the window, or a tool message did not fit."""
    TURN_LIMIT = "turn_limit"
    """The last turn still called tools."""
    REPETITION = "repetition"
    """Overflow by one response of extreme length."""
    ERROR = "error"
    """The policy failed; see the episode's `error`."""

    @property
    def failed(self) -> bool:
        """True for every end but `FINISHED`."""
        return self is not Status.FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One assistant turn and what its tools answered.

    For token policies `prompt_ids` is everything the response was conditioned on, so that turn t+1
    starts with turn t's `prompt_ids + response_ids` unless the context was rebuilt in between.
    """

    text: str
    """The response, decoded."""
    finish: Finish
    prompt_ids: tuple[int, ...] = ()
    response_ids: tuple[int, ...] = ()
    logprobs: tuple[Number, ...] = ()
    """Of `response_ids`, under the distribution that sampled them, in nats."""
    prompt_tokens: int = 0
    response_tokens: int = 0
    versions: VersionSpans = ()
    """Which weights sampled which token of the response."""
    calls: tuple[ToolCall, ...] = ()
    """Valid calls, after dropping malformed ones and those over the limit."""
    dropped_calls: int = 0
    results: tuple[ToolResult, ...] = ()

    @property
    def version(self) -> int:
        """The oldest of the versions that sampled the turn."""
        return oldest(self.versions)


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
    """The final text, after the last `</think>`; empty if the agent failed."""


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

    @property
    def main(self) -> Trajectory:
        """The trajectory of the agent that answers the user."""
        return self.trajectories[0]
