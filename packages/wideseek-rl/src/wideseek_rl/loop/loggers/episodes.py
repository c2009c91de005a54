"""`episodes/step_000012.jsonl`: every rollout of a step, with its score and reward."""

import asyncio
from pathlib import Path

from wideseek_core.episode_records import episode_record
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_rl.loop.loggers.protocol import StepReport


class EpisodeLogger:
    """Writes one file a step, atomically."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def start(self, step: int) -> None:
        """A step that is done again replaces its file."""

    async def write(self, report: StepReport) -> None:
        """Writes the file of a step that has rollouts."""
        if report.groups:
            await asyncio.to_thread(self._write, report)

    async def close(self) -> None:
        """Nothing is buffered."""

    def _write(self, report: StepReport) -> None:
        records = [
            episode_record(
                scored.episode,
                step=report.step,
                source=scored.source,
                reward=None if reward is None else reward.value,
                score=scored.score,
            )
            for group, rewards in zip(report.groups, report.rewards, strict=True)
            for scored, reward in zip(group, rewards, strict=True)
        ]
        lines = "".join(f"{to_json(record)}\n" for record in records)
        write_atomically(self._folder / f"step_{report.step:06d}.jsonl", lines)
