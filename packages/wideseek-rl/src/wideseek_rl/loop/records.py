"""Rollouts on disk: one self-contained record a line."""

from typing import Literal

from pydantic import JsonValue

from wideseek_core import AgentRole, Finish, Record, Score, Status, Trajectory, Turn
from wideseek_rl.rollout.scored import ScoredEpisode


class CallRecord(Record):
    """One tool call."""

    name: str
    arguments: dict[str, JsonValue]


class ResultRecord(Record):
    """What one request of a call gave back."""

    request: str
    text: str
    ok: bool


class TurnRecord(Record):
    """One assistant turn, without token ids."""

    text: str
    finish: Finish
    prompt_tokens: int
    response_tokens: int
    versions: tuple[tuple[int, int, int], ...]
    """Which weights sampled which tokens: (version, start, end), where `end` is excluded."""
    calls: tuple[CallRecord, ...]
    dropped_calls: int
    results: tuple[ResultRecord, ...]


class TrajectoryRecord(Record):
    """One agent."""

    agent: int
    role: AgentRole
    status: Status
    prompt: str
    answer: str
    turns: tuple[TurnRecord, ...]


class EpisodeRecord(Record):
    """One rollout of a training step, as `episodes/step_000012.jsonl` holds it."""

    version: Literal[1] = 1
    step: int
    task_id: str
    trial: int
    reward: float | None
    """None if the rollout was left out."""
    score: Score
    answer: str
    error: str
    seconds: float
    trajectories: tuple[TrajectoryRecord, ...]


def episode_record(scored: ScoredEpisode, *, step: int, reward: float | None) -> EpisodeRecord:
    """The record of one rollout."""
    episode = scored.episode
    return EpisodeRecord(
        step=step,
        task_id=episode.task_id,
        trial=episode.trial,
        reward=reward,
        score=scored.score,
        answer=episode.answer,
        error=episode.error,
        seconds=episode.seconds,
        trajectories=tuple(_trajectory(agent) for agent in episode.trajectories),
    )


def _trajectory(agent: Trajectory) -> TrajectoryRecord:
    return TrajectoryRecord(
        agent=agent.agent,
        role=agent.role,
        status=agent.status,
        prompt=agent.prompt,
        answer=agent.answer,
        turns=tuple(_turn(turn) for turn in agent.turns),
    )


def _turn(turn: Turn) -> TurnRecord:
    return TurnRecord(
        text=turn.text,
        finish=turn.finish,
        prompt_tokens=turn.prompt_tokens,
        response_tokens=turn.response_tokens,
        versions=tuple((span.version, span.start, span.end) for span in turn.versions),
        calls=tuple(CallRecord(name=c.name, arguments=c.arguments) for c in turn.calls),
        dropped_calls=turn.dropped_calls,
        results=tuple(ResultRecord(request=r.request, text=r.text, ok=r.ok) for r in turn.results),
    )
