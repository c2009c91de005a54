"""A rollout as a tree of spans: the rollout, its agents, their turns, and their tool calls."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from wideseek_core.episodes import Episode, Trajectory, Turn
from wideseek_core.messages import ToolResult
from wideseek_core.scores import Score


class SpanKind(StrEnum):
    """What a span is about."""

    ROLLOUT = "rollout"
    AGENT = "agent"
    TURN = "turn"
    """One reply of the model."""
    TOOL = "tool"
    """One request to a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A rollout and its score, if it has one."""

    episode: Episode
    score: Score | None = None
    step: int | None = None
    """The training step; None in an evaluation."""
    reward: float | None = None

    @property
    def name(self) -> str:
        """Tells the task from others; a training run rolls a task out again in a later step."""
        task = self.episode.task_id
        return task if self.step is None else f"step {self.step}: {task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time. Seconds count from the beginning of the episode."""

    kind: SpanKind
    id: str
    """16 hexadecimal digits, the same for the same rollout every time."""
    parent: str | None
    """The span that it is a part of: an agent's is the tool call that created it."""
    name: str
    start_s: float
    end_s: float
    agent: Trajectory | None = None
    """The agent of every span but that of the rollout."""
    turn: Turn | None = None
    """The turn of a turn's span, and of a tool call's."""
    result: ToolResult | None = None
    """The result of a tool call's span."""
    new_text: str = ""
    """What the model of a turn's span was shown since its last turn."""


def trace_id(episode: Episode) -> str:
    """32 hexadecimal digits that name a rollout."""
    name = f"{episode.task_id}/{episode.trial}/{episode.started_at}"
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]


def spans_of(episode: Episode) -> list[Span]:
    """All spans of a rollout; parents come before their children."""
    trace = trace_id(episode)
    root = Span(
        kind=SpanKind.ROLLOUT,
        id=_span_id(trace, "rollout"),
        parent=None,
        name="rollout",
        start_s=0.0,
        end_s=float(episode.seconds),
    )
    creators = {
        result.agent: _span_id(trace, f"{agent.agent}/{turn}/{number}")
        for agent in episode.trajectories
        for turn, found in enumerate(agent.turns)
        for number, result in enumerate(found.results)
        if result.agent is not None
    }
    spans = [root]
    for agent in episode.trajectories:
        spans += _agent_spans(agent, trace, creators.get(agent.agent, root.id))
    return spans


def _agent_spans(agent: Trajectory, trace: str, parent: str) -> list[Span]:
    own = Span(
        kind=SpanKind.AGENT,
        id=_span_id(trace, f"{agent.agent}"),
        parent=parent,
        name=f"{agent.role} {agent.agent}" if agent.role == "subagent" else agent.role,
        start_s=agent.started_s,
        end_s=agent.started_s + agent.seconds,
        agent=agent,
    )
    spans = [own]
    shown = agent.prompt
    for number, turn in enumerate(agent.turns):
        spans.append(
            Span(
                kind=SpanKind.TURN,
                id=_span_id(trace, f"{agent.agent}/{number}"),
                parent=own.id,
                name=f"turn {number + 1}",
                start_s=turn.started_s,
                end_s=turn.started_s + turn.seconds,
                agent=agent,
                turn=turn,
                new_text=shown,
            )
        )
        for place, result in enumerate(turn.results):
            spans.append(
                Span(
                    kind=SpanKind.TOOL,
                    id=_span_id(trace, f"{agent.agent}/{number}/{place}"),
                    parent=own.id,
                    name=result.tool,
                    start_s=result.started_s,
                    end_s=result.started_s + result.seconds,
                    agent=agent,
                    turn=turn,
                    result=result,
                )
            )
        shown = "\n\n".join([*(result.text for result in turn.results), *turn.notes])
    return spans


def _span_id(trace: str, path: str) -> str:
    return hashlib.sha256(f"{trace}/{path}".encode()).hexdigest()[:16]
