"""Rollouts on disk: one episode a line, with or without the token ids that training needs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from wideseek_core import Episode
from wideseek_core.tasks import Record
from wideseek_eval.folder import read_whole

Keep = Literal["none", "text", "full"]
"""`text` leaves out token ids and log-probabilities."""


class StoredEpisode(Record):
    """One line of `episodes.jsonl`."""

    version: Literal[1] = 1
    episode: Episode


def to_store(episode: Episode, keep: Keep) -> StoredEpisode:
    """The episode as it is written."""
    return StoredEpisode(episode=episode if keep == "full" else without_ids(episode))


def without_ids(episode: Episode) -> Episode:
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


def read_episodes(path: Path) -> Iterator[Episode]:
    """The episodes of a file; a rollout that was repeated is there twice, the later one counts."""
    for stored in read_whole(path, StoredEpisode):
        yield stored.episode
