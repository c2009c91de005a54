"""What every data set's configuration offers: which of its tasks are asked, and in which order."""

import random
from collections.abc import Sequence

from pydantic import Field, model_validator

from wideseek_core.config import Config
from wideseek_core.errors import DataError
from wideseek_core.tasks import Task


class Selection(Config):
    """Which of a data set's tasks are asked. The root of all data set configurations."""

    limit: int | None = Field(default=None, ge=1)
    """Maximum number of tasks; null for all of them."""
    shuffle: bool = False
    """Take the tasks in a random order, drawn with `seed`, instead of the file's order."""
    seed: int = 0
    """Seed of the random order."""
    min_rows: int | None = Field(default=None, ge=0)
    """Only tasks whose reference table has at least this many rows."""
    max_rows: int | None = Field(default=None, ge=0)
    """Only tasks whose reference table has at most this many rows."""

    @model_validator(mode="after")
    def _rows_in_order(self) -> "Selection":
        if self.min_rows and self.max_rows is not None and self.min_rows > self.max_rows:
            raise ValueError(f"min_rows {self.min_rows} is more than max_rows {self.max_rows}")
        return self


def select(tasks: Sequence[Task], selection: Selection) -> list[Task]:
    """Filters by rows, then shuffles, then cuts. Raises `DataError` if no task is left."""
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
