"""What a run is asked: the known data sets as configuration, and tasks out of it."""

import logging
import random
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wideseek_core import Config, DataError, Task
from wideseek_eval.formats.jsonl import load_jsonl
from wideseek_eval.formats.widesearch import REVISION, SHA256, digest, load_widesearch, locate

logger = logging.getLogger(__name__)


class Selection(Config):
    """Which of a data set's tasks are asked."""

    limit: int | None = Field(default=None, ge=1)
    """At most this many tasks; all of them if null."""
    shuffle: bool = False
    """Take them in random order, drawn with `seed`, rather than in the file's."""
    seed: int = 0
    min_rows: int | None = Field(default=None, ge=0)
    """Only tasks whose reference table has at least this many rows."""
    max_rows: int | None = Field(default=None, ge=0)
    """Only tasks whose reference table has at most this many rows."""

    @model_validator(mode="after")
    def _rows_in_order(self) -> "Selection":
        if self.min_rows and self.max_rows is not None and self.min_rows > self.max_rows:
            raise ValueError(f"min_rows {self.min_rows} is more than max_rows {self.max_rows}")
        return self


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


Domain = Literal[
    "airports", "cities", "computer_languages", "countries", "deep_sky",
    "elements", "holidays", "human_languages", "isotopes", "us_states",
]  # fmt: skip


class AtlasData(Selection):
    """The bundled world of true facts."""

    kind: Literal["atlas"] = "atlas"
    split: Literal["train", "dev", "test"] = "test"
    questions: Literal["wide", "qa"] = "wide"
    max_columns: int | None = Field(default=None, ge=1)
    """Only wide questions that ask for at most this many columns beside the key."""
    shapes: tuple[Literal["group", "both", "range", "top"], ...] | None = None
    """Only wide questions whose rows are picked so: all of a listed group, those with a second
    property too, those above or below a bound, the k largest."""
    domains: tuple[Domain, ...] | None = None
    """Only wide questions about these."""


DataConfig = Annotated[AtlasData | JsonlData | QaData | WideSearchData, Field(discriminator="kind")]
"""Any of the known data sets, told apart by `kind`."""


def load_tasks(config: DataConfig) -> list[Task]:
    """The tasks a config asks for.

    Raises `DataError` naming file and line, also when nothing is left to ask.
    """
    match config:
        case AtlasData():
            # Imported on use: only this kind needs the bundled world.
            from wideseek_eval.atlas import load_tasks as load_atlas

            return load_atlas(
                config.split,
                kind=config.questions,
                limit=config.limit,
                seed=config.seed,
                max_rows=config.max_rows,
                min_rows=config.min_rows,
                max_columns=config.max_columns,
                shapes=config.shapes,
                domains=config.domains,
            )
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
    for reason in skipped:
        logger.warning("skipped %s", reason)
    if not tasks:
        raise DataError(f"{place}: no tasks")
    return select(tasks, config)


def select(tasks: list[Task], selection: Selection) -> list[Task]:
    """Filters by rows, then shuffles, then cuts. Raises `DataError` if nothing is left."""
    low, high = selection.min_rows, selection.max_rows
    chosen = [
        task
        for task in tasks
        if (low is None or task.rows >= low) and (high is None or task.rows <= high)
    ]
    if not chosen:
        raise DataError(f"none of {len(tasks)} tasks has between {low or 0} and {high} rows")
    if selection.shuffle:
        random.Random(selection.seed).shuffle(chosen)
    return chosen[: selection.limit]


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
