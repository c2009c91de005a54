"""Datasets, resumable evaluation runs, statistics and reports."""

from wideseek_eval.datasets.config import (
    DataConfig,
    JsonlData,
    QaData,
    WideSearchData,
)
from wideseek_eval.datasets.open import load_tasks
from wideseek_eval.judges import open_judge
from wideseek_eval.reports.figures import Figure
from wideseek_eval.reports.pages import report_page, sweep_page
from wideseek_eval.reports.text import (
    comparison_text,
    report_text,
    summary_text,
    sweep_text,
    write_report,
)
from wideseek_eval.runs.evaluation import RunConfig, run_evaluation
from wideseek_eval.runs.folder import StoredRun, load_run
from wideseek_eval.runs.regrade import regrade
from wideseek_eval.runs.responses import export_responses
from wideseek_eval.runs.results import EpisodeSummary, Result, RunEpisode
from wideseek_eval.runs.rollouts import evaluate
from wideseek_eval.runs.scoring import ResponseFiles, import_responses, score_responses
from wideseek_eval.statistics.breakdown import Report, make_report
from wideseek_eval.statistics.compare import Comparison, compare
from wideseek_eval.statistics.means import Mean
from wideseek_eval.statistics.summary import Metric, Slice, Summary, summarize
from wideseek_eval.statistics.sweep import Sweep, run_sweep

__all__ = [
    "Comparison",
    "DataConfig",
    "EpisodeSummary",
    "Figure",
    "JsonlData",
    "Mean",
    "Metric",
    "QaData",
    "Report",
    "ResponseFiles",
    "Result",
    "RunConfig",
    "RunEpisode",
    "Slice",
    "StoredRun",
    "Summary",
    "Sweep",
    "WideSearchData",
    "compare",
    "comparison_text",
    "evaluate",
    "export_responses",
    "import_responses",
    "load_run",
    "load_tasks",
    "make_report",
    "open_judge",
    "regrade",
    "report_page",
    "report_text",
    "run_evaluation",
    "run_sweep",
    "score_responses",
    "summarize",
    "summary_text",
    "sweep_page",
    "sweep_text",
    "write_report",
]
