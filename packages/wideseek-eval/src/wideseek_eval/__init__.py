"""Datasets, resumable evaluation runs, statistics and reports, and a world of true facts."""

from wideseek_eval.datasets import (
    AtlasData,
    DataConfig,
    JsonlData,
    QaData,
    WideSearchData,
    load_tasks,
)
from wideseek_eval.folder import StoredRun, load_run
from wideseek_eval.records import EpisodeSummary, Result, RunEpisode
from wideseek_eval.rollout import evaluate
from wideseek_eval.runs import RunConfig, run_evaluation
from wideseek_eval.statistics import Mean
from wideseek_eval.summary import Metric, Slice, Summary, summarise

__all__ = [
    "AtlasData",
    "DataConfig",
    "EpisodeSummary",
    "JsonlData",
    "Mean",
    "Metric",
    "QaData",
    "Result",
    "RunConfig",
    "RunEpisode",
    "Slice",
    "StoredRun",
    "Summary",
    "WideSearchData",
    "evaluate",
    "load_run",
    "load_tasks",
    "run_evaluation",
    "summarise",
]
