"""Groups that are complete and not trained on yet, as files of a checkpoint."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from wideseek_core import CheckpointError
from wideseek_core.episode_records import EpisodeRecord, episode_record
from wideseek_core.files import read_records, write_atomically
from wideseek_core.json_text import to_json
from wideseek_rl.rollout.scored import ScoredEpisode

GROUPS = "groups.jsonl"


def write_groups(folder: Path, groups: Mapping[int, Sequence[ScoredEpisode]]) -> None:
    """Writes the rollouts of each position with all their tokens; `step` holds the position."""
    records = [
        episode_record(
            scored.episode, tokens=True, step=position, source=scored.source, score=scored.score
        )
        for position, group in sorted(groups.items())
        for scored in group
    ]
    write_atomically(folder / GROUPS, "".join(f"{to_json(record)}\n" for record in records))


def read_groups(folder: Path, positions: Sequence[int]) -> dict[int, list[ScoredEpisode]]:
    """The rollouts of these positions. Raises `CheckpointError` if any is missing."""
    groups: dict[int, list[ScoredEpisode]] = defaultdict(list)
    if positions:
        for record in read_records(folder / GROUPS, EpisodeRecord):
            if record.step is not None and record.score is not None:
                groups[record.step].append(
                    ScoredEpisode(episode=record.episode, score=record.score, source=record.source)
                )
    missing = [position for position in positions if position not in groups]
    if missing:
        raise CheckpointError(f"{folder / GROUPS}: lacks the groups of prompts {missing}")
    return {position: groups[position] for position in positions}
