"""What every data set's configuration offers: which of its tasks are asked, and in which order."""

import logging
import math
import random
from collections.abc import Sequence

from pydantic import Field, model_validator

from wideseek_core.config import Config
from wideseek_core.counting import counted
from wideseek_core.errors import ConfigError, DataError
from wideseek_core.tasks import Task

logger = logging.getLogger(__name__)


class Selection(Config):
    """Which of a data set's tasks are asked. The root of all data set configurations."""

    limit: int | None = Field(default=None, ge=1)
    """Maximum number of tasks; null for all of them."""
    shuffle: bool = False
    """Take the tasks in a random order, drawn with `seed`, instead of the data set's own order."""
    seed: int = Field(default=0, ge=0)
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
    return _ordered(_of_size(tasks, selection), selection)[: selection.limit]


def select_mixture(
    groups: Sequence[Sequence[Task]], weights: Sequence[float], selection: Selection
) -> list[Task]:
    """Tasks of several groups, such as files, in the proportions of `weights`; no task twice.

    There are as many as `limit` asks for, or as the scarcest group allows. Without weights all
    tasks are taken, in the proportions of the groups' sizes. Groups alternate evenly, so that any
    first few tasks are a mixture too, or are shuffled together. Raises `DataError` if a group has
    no task left.
    """
    if weights and len(weights) != len(groups):
        raise ConfigError(
            f"weights: {counted(len(weights), 'weight')} for "
            f"{counted(len(groups), 'set of tasks', 'sets of tasks')}"
        )
    kept = [_ordered(_of_size(group, selection), selection) for group in groups]
    sizes = [len(group) for group in kept]
    counts = _counts(sizes, weights or sizes, selection.limit)
    places = [
        ((index + 0.5) / count, number, task)
        for number, (group, count) in enumerate(zip(kept, counts, strict=True))
        for index, task in enumerate(group[:count])
    ]
    places.sort(key=lambda place: place[:2])
    return _ordered([task for _, _, task in places], selection)


def _of_size(tasks: Sequence[Task], selection: Selection) -> list[Task]:
    low, high = selection.min_rows, selection.max_rows
    chosen = [
        task
        for task in tasks
        if (low is None or task.rows >= low) and (high is None or task.rows <= high)
    ]
    if not chosen:
        wanted = f"at most {counted(high or 0, 'row')}"
        if low is not None:
            up_to = "or more" if high is None else f"and no more than {high}"
            wanted = f"{counted(low, 'row')} {up_to}"
        raise DataError(f"of {counted(len(tasks), 'task')} none has {wanted}")
    return chosen


def _ordered(tasks: list[Task], selection: Selection) -> list[Task]:
    if selection.shuffle:
        random.Random(selection.seed).shuffle(tasks)
    return tasks


def _counts(sizes: Sequence[int], weights: Sequence[float], limit: int | None) -> list[int]:
    """How many tasks each group gives, by largest remainders."""
    shares = [weight / sum(weights) for weight in weights]
    # The slack is for shares such as 1/3, which times a size of 3 is not quite 1.
    most = min(math.floor(size / share + 1e-9) for size, share in zip(sizes, shares, strict=True))
    total = most if limit is None else min(limit, most)
    if limit is not None and most < limit and list(weights) != list(sizes):
        logger.warning("a mixture of these weights has %s, not %d", counted(most, "task"), limit)
    counts = [math.floor(total * share + 1e-9) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda at: counts[at] - total * shares[at])
    for at in by_remainder[: total - sum(counts)]:
        counts[at] += 1
    return [min(count, size) for count, size in zip(counts, sizes, strict=True)]
