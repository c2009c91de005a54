"""`wideseek-eval view`: all rollouts of a run as one page."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from wideseek_core import Config
from wideseek_core.config import load_config
from wideseek_core.progress import show
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
    """Where to write the page; null for traces.html in the run's folder."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(ViewConfig, arguments, positional=("run",), usage=USAGE)
    # A folder's name may hold a colon, which otherwise begins the name of a regrading.
    folder = config.run if Path(config.run).is_dir() else config.run.rpartition(":")[0]
    path = config.html_file or Path(folder) / "traces.html"
    count = write_viewer(config.run, path, steps=config.steps, limit=config.limit)
    show(f"{count} rollouts: {path}")
