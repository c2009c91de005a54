"""`wideseek-eval score`: the scores of response files."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from wideseek_core.config import load_config
from wideseek_core.counting import counted
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import show
from wideseek_eval.commands.judged import ResponsesConfig
from wideseek_eval.reports.text import summary_text
from wideseek_eval.runs.scoring import ResponseFiles, score_responses

USAGE = "wideseek-eval score tasks=FILE responses=FILE|FOLDER [CONFIG.yaml ...] [KEY=VALUE ...]"


class ScoreConfig(ResponsesConfig):
    """Scores response files of the official format."""

    json_file: Path | None = None
    """Where to write every score and the summary as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    asyncio.run(_score(load_config(ScoreConfig, arguments, usage=USAGE)))


async def _score(config: ScoreConfig) -> None:
    files = config.files()
    async with config.open_judge() as judge:
        scored = await score_responses(files, judge, config.settings(), config.max_concurrent)
    show(summary_text(scored.summary))
    if scored.missing:
        tasks = counted(len(scored.missing), "task")
        show(f"{tasks} without a response; {_missing_rule(files)}.")
    if config.json_file is not None:
        write_atomically(config.json_file, to_json(scored, indent=2) + "\n")


def _missing_rule(files: ResponseFiles) -> str:
    if files.missing_as_empty:
        return "they count as 0, as in the official script"
    return "they have no score"
