"""What an episode has done so far, kept even if it breaks off."""

from dataclasses import dataclass, field

from wideseek_core import AgentRole, Status, Trajectory, Turn


@dataclass(slots=True, kw_only=True)
class AgentRecord:
    """One agent's turns as they come. `status` stays `ERROR` until the agent has ended."""

    agent: int
    role: AgentRole
    prompt: str
    turns: list[Turn] = field(default_factory=list[Turn])
    status: Status = Status.ERROR
    answer: str = ""

    def trajectory(self) -> Trajectory:
        """The record as it stands."""
        return Trajectory(
            agent=self.agent,
            role=self.role,
            status=self.status,
            turns=tuple(self.turns),
            prompt=self.prompt,
            answer=self.answer,
        )


@dataclass(slots=True)
class Recording:
    """The agents of one episode, in order of creation."""

    agents: list[AgentRecord] = field(default_factory=list[AgentRecord])

    def begin(self, role: AgentRole, prompt: str) -> AgentRecord:
        """A record for the next agent; its number is its place."""
        record = AgentRecord(agent=len(self.agents), role=role, prompt=prompt)
        self.agents.append(record)
        return record

    def trajectories(self) -> tuple[Trajectory, ...]:
        """All agents as they stand."""
        return tuple(record.trajectory() for record in self.agents)
