"""`wideseek-eval import`: a run made of response files."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from wideseek_core.config import load_config
from wideseek_core.progress import show
from wideseek_eval.commands.judged import ResponsesConfig
from wideseek_eval.reports.text import summary_text
from wideseek_eval.runs.scoring import import_responses

USAGE = (
    "wideseek-eval import RUN tasks=FILE responses=FILE|FOLDER [CONFIG.yaml ...] [KEY=VALUE ...]"
)


class ImportConfig(ResponsesConfig):
    """Makes a run of response files of the official format."""

    run: Path
    """Folder of the new run."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    asyncio.run(_import(load_config(ImportConfig, arguments, positional=("run",), usage=USAGE)))


async def _import(config: ImportConfig) -> None:
    settings = config.settings() | {"responses": config.digest()}
    async with config.open_judge() as judge:
        summary = await import_responses(
            config.files(), judge, config.run, settings, config.max_concurrent
        )
    show(summary_text(summary))
