"""`wideseek-eval export`: a run's responses as official response files."""

from collections.abc import Sequence
from pathlib import Path

from wideseek_core import Config
from wideseek_core.config import load_config
from wideseek_core.progress import show
from wideseek_eval.runs.find import find_run
from wideseek_eval.runs.responses import export_responses

USAGE = "wideseek-eval export RUN TARGET [KEY=VALUE ...]"


class ExportConfig(Config):
    """Writes a run's responses in the official format."""

    run: str
    """A run's folder, or a training run's folder."""
    target: Path
    """A `.jsonl` file, or a folder of one file each."""
    model: str = "wideseek"
    """The name that the names of the files in a folder begin with."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(ExportConfig, arguments, positional=("run", "target"), usage=USAGE)
    count = export_responses(find_run(config.run).path, config.target, model=config.model)
    show(f"{count} responses: {config.target}")
