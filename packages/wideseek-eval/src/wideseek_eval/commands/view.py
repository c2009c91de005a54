"""`wideseek-eval view`: all rollouts of a run as one page."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from wideseek_core import Config
from wideseek_core.config import load_config
from wideseek_core.counting import counted
from wideseek_core.progress import show
from wideseek_eval.runs.find import page_path
from wideseek_eval.viewer.page import write_viewer

USAGE = "wideseek-eval view RUN [KEY=VALUE ...]"


class ViewConfig(Config):
    """Writes all rollouts of a run as one page to look at."""

    run: str
    """A run's folder, FOLDER:GRADING for a regrading, or a training run's folder."""
    steps: tuple[int, ...] = ()
    """Of a training run, only these steps; all if empty."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rollouts; null for all."""
    html_file: Path | None = None
    """Where to write the page; null for traces.html in the run's folder, traces.GRADING.html for a
    regrading."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(ViewConfig, arguments, positional=("run",), usage=USAGE)
    path = config.html_file or page_path(config.run, "traces")
    count = write_viewer(config.run, path, steps=config.steps, limit=config.limit)
    show(f"{counted(count, 'rollout')}: {path}")
