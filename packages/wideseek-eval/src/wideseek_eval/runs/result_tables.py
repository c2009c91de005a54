"""A run's results as one flat table, a row for each rollout: CSV, or Parquet with `pyarrow`."""

import csv
import importlib
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wideseek_core import Score, Task
from wideseek_core.extras import require_modules
from wideseek_core.files import write_atomically
from wideseek_core.text import clean
from wideseek_eval.runs.find import NamedRun, find_runs
from wideseek_eval.runs.results import Result
from wideseek_eval.statistics.summary import EFFORT, TABLE_METRICS, TEXT_METRICS, value_of

Cell = str | int | float | bool | None

TEXT_COLUMNS = ("run", "task_id", "question", "language", "source", "kind", "outcome", "status")
METRIC_COLUMNS = ("score", *TABLE_METRICS, *TEXT_METRICS)


def write_csv(name: str, path: Path) -> int:
    """Writes the results of a run, or of the evaluations in a training run; how many rows."""
    rows = result_rows(name)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(_columns()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    return len(rows)


def write_parquet(name: str, path: Path) -> int:
    """The same as Parquet. Raises `ConfigError` without pyarrow."""
    require_modules("pyarrow", feature="format=parquet", install="wideseek-eval[parquet]")
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    rows = result_rows(name)
    types = {
        "text": arrow.string(),
        "number": arrow.float64(),
        "count": arrow.int64(),
        "flag": arrow.bool_(),
    }
    schema = arrow.schema([(column, types[kind]) for column, kind in _columns().items()])
    data = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), data)
    write_atomically(path, data.getvalue())
    return len(rows)


def result_rows(name: str) -> list[dict[str, Cell]]:
    """The rows, by column. Numbers that a rollout does not have are None."""
    return [row for run in find_runs(name) for row in _rows(run)]


def _rows(named: NamedRun) -> list[dict[str, Cell]]:
    run = named.load()
    return [_row(str(named), run.tasks[result.task_id], result) for result in run.results]


def _row(run: str, task: Task, result: Result) -> dict[str, Cell]:
    episode, score = result.episode, result.score
    row: dict[str, Cell] = {
        "run": run,
        "task_id": task.id,
        "question": task.question,
        "language": task.language,
        "source": task.source,
        "kind": result.kind,
        "outcome": result.outcome,
        "status": episode.status.value,
        "trial": result.trial,
        "reference_rows": task.rows,
        "format_valid": None if score is None else score.format_valid,
    }
    row |= {name: _finite(value_of(result, name)) for name in METRIC_COLUMNS}
    row |= {name: _effort(getattr(episode, name)) for name in EFFORT}
    row |= {"message": _message(result, score), "answer": result.answer}
    return {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}


def _columns() -> Mapping[str, str]:
    """The columns in order, with the kind of their values."""
    kinds = dict.fromkeys(TEXT_COLUMNS, "text") | {"trial": "count", "reference_rows": "count"}
    kinds |= {"format_valid": "flag"} | dict.fromkeys(METRIC_COLUMNS, "number")
    kinds |= {name: "number" if name == "seconds" else "count" for name in EFFORT}
    return kinds | {"message": "text", "answer": "text"}


def _message(result: Result, score: Score | None) -> str:
    return result.episode.error if score is None else score.message


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _effort(value: float) -> float | None:
    return value if math.isfinite(value) else None
