"""`wideseek-eval regrade`: a run's stored answers, judged again."""

import asyncio
from collections.abc import Sequence

from wideseek_core.config import load_config
from wideseek_core.progress import show
from wideseek_eval.commands.judged import JudgedConfig
from wideseek_eval.reports.text import summary_text
from wideseek_eval.runs.find import find_run
from wideseek_eval.runs.regrade import regrade

USAGE = "wideseek-eval regrade RUN name=NAME [CONFIG.yaml ...] [KEY=VALUE ...]"


class RegradeConfig(JudgedConfig):
    """Judges a run's stored answers again. The first scores stay."""

    run: str
    """A run's folder, or a training run's folder."""
    name: str
    """Name of the new grading, which reports and comparisons take as FOLDER:NAME."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(RegradeConfig, arguments, positional=("run",), usage=USAGE)
    asyncio.run(_regrade(config))


async def _regrade(config: RegradeConfig) -> None:
    path = find_run(config.run).path
    async with config.open_judge() as judge:
        summary = await regrade(
            path,
            judge,
            name=config.name,
            max_concurrent=config.max_concurrent,
            settings=config.settings(),
        )
    show(summary_text(summary))
    show(f"report: wideseek-eval report {path}:{config.name}")
