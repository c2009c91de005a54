"""`wideseek-eval report`: a run's scores, and its page."""

from collections.abc import Sequence

from wideseek_core import Config
from wideseek_core.config import load_config
from wideseek_core.progress import show
from wideseek_eval.reports.text import report_text, write_report
from wideseek_eval.runs.find import find_runs

USAGE = "wideseek-eval report RUN"


class ReportConfig(Config):
    """Shows a run's scores and writes report.html and report.json into its folder."""

    run: str
    """A run's folder, FOLDER:GRADING for a regrading, or a training run's folder."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(ReportConfig, arguments, positional=("run",), usage=USAGE)
    for named in find_runs(config.run):
        show(report_text(write_report(named.path, named.grading)))
        stem = f"report.{named.grading}" if named.grading else "report"
        show(f"written: {named.path / stem}.html, {named.path / stem}.json")
