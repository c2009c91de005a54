"""Rollouts on disk: one record a line, the same for training and evaluation.

A record holds the episode as it was in memory; token ids and log-probabilities are kept only where
they were asked for. A training step adds its number and the reward.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import SerializerFunctionWrapHandler, field_serializer

from wideseek_core.episodes import Episode
from wideseek_core.files import read_records
from wideseek_core.scores import Score
from wideseek_core.tasks import Record

Keep = Literal["none", "text", "full"]
"""How much of a rollout is kept: nothing, its text, or its token ids and log-probabilities too."""

TOKEN_FIELDS = ("prompt_ids", "response_ids", "logprobs")


class EpisodeRecord(Record):
    """One line of an episode file."""

    version: Literal[1] = 1
    episode: Episode
    step: int | None = None
    """The training step; null in an evaluation."""
    source: str = ""
    """The task's source; empty in an evaluation, whose tasks are beside it."""
    reward: float | None = None
    """Null if the rollout was left out of training, and in an evaluation."""
    score: Score | None = None
    """Null in an evaluation, whose scores are in its results."""

    @field_serializer("episode", mode="wrap")
    def _leave_out_empty_ids(
        self, episode: Episode, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        value = cast(dict[str, Any], handler(episode))
        for agent in value["trajectories"]:
            for turn in agent["turns"]:
                for name in TOKEN_FIELDS:
                    if not turn[name]:
                        del turn[name]
        return value


def episode_record(
    episode: Episode,
    *,
    tokens: bool = False,
    step: int | None = None,
    source: str = "",
    reward: float | None = None,
    score: Score | None = None,
) -> EpisodeRecord:
    """The record of a rollout, with or without its token ids and log-probabilities."""
    kept = episode if tokens else without_tokens(episode)
    return EpisodeRecord(episode=kept, step=step, source=source, reward=reward, score=score)


def without_tokens(episode: Episode) -> Episode:
    """The episode as text alone."""
    agents = tuple(
        replace(
            agent,
            turns=tuple(
                replace(turn, prompt_ids=(), response_ids=(), logprobs=()) for turn in agent.turns
            ),
        )
        for agent in episode.trajectories
    )
    return replace(episode, trajectories=agents)


def read_episodes(path: Path) -> Iterator[EpisodeRecord]:
    """The records of a file; of a rollout that was repeated the later one counts.

    Raises `DataError` with file:line.
    """
    return read_records(path, EpisodeRecord, growing=True)
