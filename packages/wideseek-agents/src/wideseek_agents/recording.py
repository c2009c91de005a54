"""What an episode has done so far, kept even if it breaks off."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from wideseek_core import AgentRole, Reply, Status, ToolCall, ToolResult, Trajectory, Turn


@dataclass(slots=True, kw_only=True)
class TurnRecord:
    """One turn as it is carried out: the reply, then what becomes of its calls.

    The immutable `Turn` is made once, when the trajectory is: replacing it at every step takes
    longer than the steps.
    """

    reply: Reply
    started_s: float
    seconds: float
    calls: tuple[ToolCall, ...] = ()
    dropped_calls: int = 0
    results: tuple[ToolResult, ...] = ()
    notes: tuple[str, ...] = ()

    def turn(self) -> Turn:
        """The turn as it is now."""
        reply = self.reply
        return Turn(
            text=reply.text,
            finish=reply.finish,
            finish_reason=reply.finish_reason,
            native_calls=reply.native_calls,
            model=reply.model,
            resumable=reply.resumable,
            prompt_ids=reply.prompt_ids,
            response_ids=reply.response_ids,
            logprobs=reply.logprobs,
            prompt_tokens=reply.prompt_tokens,
            response_tokens=reply.response_tokens,
            versions=reply.versions,
            calls=self.calls,
            dropped_calls=self.dropped_calls,
            results=self.results,
            notes=self.notes,
            started_s=self.started_s,
            seconds=self.seconds,
        )


@dataclass(slots=True, kw_only=True)
class AgentRecord:
    """One agent's turns as they come. `status` is `ERROR` until the agent has ended."""

    agent: int
    role: AgentRole
    prompt: str
    clock: "Clock"
    parent: int | None = None
    parent_turn: int = 0
    turns: list[TurnRecord] = field(default_factory=list[TurnRecord])
    status: Status = Status.ERROR
    answer: str = ""
    error: str = ""
    started_s: float = 0.0
    seconds: float = 0.0
    trained: bool = True
    ended: bool = False
    """Whether nothing of the record changes any more."""
    _final: Trajectory | None = None

    def trajectory(self) -> Trajectory:
        """The record as it is now."""
        if self._final is None:
            made = self._made()
            self._final = made if self.ended else None
            return made
        return self._final

    def _made(self) -> Trajectory:
        return Trajectory(
            agent=self.agent,
            role=self.role,
            status=self.status,
            turns=tuple(turn.turn() for turn in self.turns),
            prompt=self.prompt,
            answer=self.answer,
            error=self.error,
            parent=self.parent,
            parent_turn=self.parent_turn,
            started_s=self.started_s,
            seconds=self.seconds,
            trained=self.trained,
        )


class Clock:
    """Seconds since an episode began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.started_at = time.time()
        """When that was, in seconds since 1970 (UTC)."""

    def now(self) -> float:
        """The time that has passed."""
        return time.monotonic() - self._began


@dataclass(slots=True)
class Recording:
    """The agents of one episode, in order of creation."""

    clock: Clock = field(default_factory=Clock)
    agents: list[AgentRecord] = field(default_factory=list[AgentRecord])
    fixed_roles: Collection[AgentRole] = ()
    """Roles whose model is not the one in training."""

    def begin(self, role: AgentRole, prompt: str, parent: AgentRecord | None = None) -> AgentRecord:
        """A record for the next agent; its number is its place."""
        record = AgentRecord(
            agent=len(self.agents),
            role=role,
            prompt=prompt,
            clock=self.clock,
            parent=None if parent is None else parent.agent,
            parent_turn=0 if parent is None else len(parent.turns) - 1,
            started_s=self.clock.now(),
            trained=role not in self.fixed_roles,
        )
        self.agents.append(record)
        return record

    def trajectories(self) -> tuple[Trajectory, ...]:
        """All agents as they are now."""
        return tuple(record.trajectory() for record in self.agents)
