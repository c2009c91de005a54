"""The rollouts of a run with their scores, as the exporters of traces want them."""

from collections.abc import Iterator
from pathlib import Path

from wideseek_core import DataError, Episode
from wideseek_core.episode_records import read_episodes
from wideseek_core.tracing import Traced
from wideseek_eval.runs.find import find_run
from wideseek_eval.runs.folder import Key, RunFolder


def step_files(name: str) -> list[Path]:
    """The episode files of a training run's steps, in order; none for an evaluation."""
    return sorted(Path(name).glob("episodes/step_" + "[0-9]" * 6 + ".jsonl"))


def number_of(path: Path) -> int:
    """The step of an episode file."""
    return int(path.stem.removeprefix("step_"))


def read_traced(name: str) -> Iterator[Traced]:
    """The rollouts of an evaluation that have episodes, or those of a training run's steps.

    Raises `DataError` if there are none.
    """
    steps = step_files(name)
    for path in steps:
        for record in read_episodes(path):
            yield Traced(
                episode=record.episode, score=record.score, step=record.step, reward=record.reward
            )
    if steps:
        return
    named = find_run(name)
    episodes = episodes_of(RunFolder(path=named.path).episodes)
    if not episodes:
        raise DataError(f"{name}: the run kept no episodes (run.keep_episodes=none)")
    for result in named.load().results:
        episode = episodes.get((result.task_id, result.trial))
        if episode is not None:
            yield Traced(episode=episode, score=result.score)


def episodes_of(path: Path) -> dict[Key, Episode]:
    """The episodes of a file, by task and trial; none if there is no file."""
    if not path.exists():
        return {}
    records = (record.episode for record in read_episodes(path))
    return {(episode.task_id, episode.trial): episode for episode in records}
