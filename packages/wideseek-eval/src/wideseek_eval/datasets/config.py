"""What a run is asked: the known data sets as configuration, and tasks out of it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wideseek_core import DataError, Task
from wideseek_core.datasets import Selection, select
from wideseek_core.plugins import kind_union, opener
from wideseek_eval.datasets.jsonl import load_jsonl
from wideseek_eval.datasets.widesearch import REVISION, SHA256, digest, load_widesearch, locate

logger = logging.getLogger(__name__)


class JsonlData(Selection):
    """JSON lines with `question` (or `query`) and `answer`: tables, short answers, or both."""

    kind: Literal["jsonl"] = "jsonl"
    path: Path
    question_key: str = ""
    """Where the question stands; `question` or `query` if empty."""
    answer_key: str = ""
    """Where the answer stands; `answer` or `gt` if empty."""
    skip_bad_rows: bool = False
    """Leave malformed rows out, with a warning, rather than stop at the first."""


class QaData(Selection):
    """A question-answering set: `question`, and `answer` or `gt` as a string or a list."""

    kind: Literal["qa"] = "qa"
    path: Path
    """A JSON-lines file, or a `.json` file with one array."""
    skip_bad_rows: bool = False


class WideSearchData(Selection):
    """WideSearch in its official layout."""

    kind: Literal["widesearch"] = "widesearch"
    path: Path | None = None
    """The folder or the .jsonl file; downloaded from the hub if null."""
    gold: Path | None = None
    """The folder of `{instance_id}.csv`; `widesearch_gold` beside the tasks if null."""
    revision: str = REVISION
    """Commit of the hub's repository, for a download."""
    sha256: str = ""
    """Digest of task file and gold tables together; if empty, only a download of the pinned
    revision is checked."""
    expect: int | None = 200
    """How many tasks there must be; not checked if null."""
    skip_bad_rows: bool = False


DATASETS = "wideseek.datasets"
"""Entry-point group of data sets from other distributions: each a `Plugin`, whose configuration is
a `Selection` and whose `open` gives the tasks that one asks for."""

if TYPE_CHECKING:
    DataConfig = Selection
else:
    DataConfig = kind_union(DATASETS, JsonlData, QaData, WideSearchData)
"""Any of the known data sets, told apart by `kind`."""


def load_tasks(config: DataConfig) -> list[Task]:
    """The tasks a config asks for.

    Raises `DataError` naming file and line, also when nothing is left to ask.
    """
    match config:
        case WideSearchData():
            tasks, skipped, place = _widesearch(config)
        case JsonlData():
            tasks, skipped = load_jsonl(
                config.path,
                question_key=config.question_key,
                answer_key=config.answer_key,
                skip_bad=config.skip_bad_rows,
            )
            place = config.path
        case QaData():
            tasks, skipped = load_jsonl(config.path, skip_bad=config.skip_bad_rows)
            place = config.path
        case _:
            return opener(DATASETS, config)(config)
    for reason in skipped:
        logger.warning("skipped %s", reason)
    if not tasks:
        raise DataError(f"{place}: no tasks")
    return select(tasks, config)


def _widesearch(config: WideSearchData) -> tuple[list[Task], list[str], Path]:
    path, gold = locate(config.path, config.gold, config.revision)
    found = digest(path, gold)
    pinned = SHA256 if config.path is None and config.revision == REVISION else ""
    wanted = config.sha256 or pinned
    if wanted and found != wanted:
        raise DataError(f"{path}: sha256 of tasks and gold tables is {found}, not {wanted}")
    tasks, skipped = load_widesearch(path, gold, skip_bad=config.skip_bad_rows)
    if config.expect is not None and len(tasks) != config.expect:
        raise DataError(
            f"{path}: {len(tasks)} tasks, not {config.expect} (data.expect=null accepts any)"
        )
    return tasks, skipped, path
