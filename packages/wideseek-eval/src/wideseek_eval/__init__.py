"""Datasets, resumable evaluation runs, statistics and reports."""

from wideseek_eval.breakdown import Report, make_report
from wideseek_eval.compare import Comparison, compare
from wideseek_eval.datasets import (
    DataConfig,
    JsonlData,
    QaData,
    WideSearchData,
    load_tasks,
)
from wideseek_eval.folder import StoredRun, load_run
from wideseek_eval.html import report_page
from wideseek_eval.judges import open_judge
from wideseek_eval.records import EpisodeSummary, Result, RunEpisode
from wideseek_eval.regrade import regrade
from wideseek_eval.report import (
    comparison_text,
    report_text,
    summary_text,
    sweep_text,
    write_report,
)
from wideseek_eval.responses import export_responses
from wideseek_eval.rollout import evaluate
from wideseek_eval.runs import RunConfig, run_evaluation
from wideseek_eval.scoring import ResponseFiles, import_responses, score_responses
from wideseek_eval.statistics import Mean
from wideseek_eval.summary import Metric, Slice, Summary, summarise
from wideseek_eval.sweep import Sweep, run_sweep, sweep_page

__all__ = [
    "Comparison",
    "DataConfig",
    "EpisodeSummary",
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
    "summarise",
    "summary_text",
    "sweep_page",
    "sweep_text",
    "write_report",
]
