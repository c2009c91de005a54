"""`wideseek-eval report`: a run's scores, and its page."""

from collections.abc import Sequence

from wideseek_core import Config
from wideseek_core.config import load_config
from wideseek_core.progress import show
from wideseek_eval.reports.text import report_text, write_comparison, write_report
from wideseek_eval.runs.find import AFTER, BEFORE, find_runs

USAGE = "wideseek-eval report RUN"


class ReportConfig(Config):
    """Shows a run's scores and writes report.html and report.json into its folder.

    Of a training run the evaluations in it are reported, and those before and after it compared in
    comparison.html.
    """

    run: str
    """A run's folder, FOLDER:GRADING for a regrading, or a training run's folder."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command."""
    config = load_config(ReportConfig, arguments, positional=("run",), usage=USAGE)
    runs = find_runs(config.run)
    for named in runs:
        show(report_text(write_report(named.path, named.grading)))
        stem = f"report.{named.grading}" if named.grading else "report"
        show(f"written: {named.path / stem}.html, {named.path / stem}.json")
    if {BEFORE, AFTER} <= {named.path.name for named in runs}:
        show(f"written: {write_comparison(config.run)}")
