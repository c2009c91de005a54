"""`wideseek-eval sweep`: a scaling curve of finished runs."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from wideseek_core import Config, ConfigError
from wideseek_core.config import load_config
from wideseek_core.files import write_atomically
from wideseek_core.json_text import to_json
from wideseek_core.progress import show
from wideseek_eval.commands.labelled import as_settings
from wideseek_eval.reports.pages import sweep_page
from wideseek_eval.reports.text import sweep_text
from wideseek_eval.runs.find import find_run
from wideseek_eval.statistics.summary import summarize
from wideseek_eval.statistics.sweep import Sweep, SweepPoint

USAGE = "wideseek-eval sweep PARAMETER VALUE=RUN [VALUE=RUN ...] [KEY=VALUE ...]"


class SweepConfig(Config):
    """Draws a scaling curve of finished runs."""

    parameter: str
    """What the runs differ in."""
    points: tuple[str, ...] = Field(min_length=1)
    """The curve's points, VALUE=RUN each: a value of the parameter, and a run's folder."""
    json_file: Path | None = None
    """Where to write the summaries as JSON."""
    html_file: Path | None = None
    """Where to write the curve as a page."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(
        SweepConfig, as_settings(arguments, SweepConfig, "parameter", "points"), usage=USAGE
    )
    sweep = Sweep(parameter=config.parameter, points=tuple(map(_point, config.points)))
    show(sweep_text(sweep))
    if config.json_file is not None:
        write_atomically(config.json_file, to_json(sweep, indent=2) + "\n")
    if config.html_file is not None:
        write_atomically(config.html_file, sweep_page(sweep))


def _point(text: str) -> SweepPoint:
    value, equals, name = text.partition("=")
    if not equals:
        raise ConfigError(f"{text!r}: expected VALUE=RUN")
    return SweepPoint(value=value, summary=summarize(find_run(name).load().results))
