"""Verdicts on answers, with their explanation, and the interface of judges."""

from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field

from wideseek_core.episodes import Usage
from wideseek_core.json_text import Number
from wideseek_core.tasks import Record, Task


class ScoreState(StrEnum):
    """Whether a score means anything."""

    SCORED = "scored"
    UNSCORED = "unscored"
    """The judge failed. Left out of every mean, counted beside it, never a zero."""
    FAILED = "failed"
    """The answer holds no table (no boxed answer, ...); all its metrics are 0."""


KEY_JOINT = " | "
"""Stands between the key cells that name a row of several keys."""


class CellScore(Record):
    """Why one cell of a joined row got its score."""

    key: str
    """The row, by its key cells joined with `KEY_JOINT`."""
    column: str
    answer: str
    gold: str
    score: Number
    by: str
    """What decided: `key`, `exact`, `number`, `date`, `judge`, ..."""


class TableMetrics(Record):
    """Precision, recall and F1 over cells (item) and rows, in [0, 1] in strict mode."""

    kind: Literal["table"] = "table"
    item_precision: Number = 0.0
    item_recall: Number = 0.0
    item_f1: Number = 0.0
    row_precision: Number = 0.0
    row_recall: Number = 0.0
    row_f1: Number = 0.0
    success: Number = 0.0
    """1 if the tables are equal."""


class TextMetrics(Record):
    """How right a short answer is."""

    kind: Literal["text"] = "text"
    correct: Number = 0.0
    """The judge's verdict, 0 or 1."""
    exact_match: Number = 0.0
    token_f1: Number = 0.0
    contains: Number = 0.0


class Score(Record):
    """The verdict on one answer."""

    state: ScoreState
    metrics: Annotated[TableMetrics | TextMetrics, Field(discriminator="kind")]
    format_valid: bool = False
    """A table with the required columns, or a boxed answer."""
    message: str = ""
    """Why it is failed or unscored, or what the judge said."""
    cells: tuple[CellScore, ...] = ()
    missing_rows: tuple[str, ...] = ()
    """Keys of the reference that the answer lacks."""
    extra_rows: tuple[str, ...] = ()
    """Keys of the answer that the reference lacks."""
    judge_calls: int = 0
    judge_usage: tuple[Usage, ...] = ()
    """Requests and tokens of the judge's model. A request for several answers at once is counted
    for one of them."""

    @property
    def value(self) -> float:
        """The one number that trains and ranks: item F1, or correctness."""
        metrics = self.metrics
        return metrics.item_f1 if isinstance(metrics, TableMetrics) else metrics.correct


class Judge(Protocol):
    """Scores answers."""

    async def score(self, task: Task, answer: str) -> Score:
        """The verdict on an agent's final text.

        A judge that can't reach a verdict returns `ScoreState.UNSCORED`, or raises `JudgeError`
        when nothing it is asked can ever be scored (a missing endpoint, say).
        """
        ...
