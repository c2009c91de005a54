"""Questions with their reference answers.

The reference table stays text here: reading tables is the judge's business.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
"""A language tag such as `en`, `zh` or `pt-BR`."""


class Record(BaseModel):
    """Root of all records that are written to disk or read from a user: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnRule(Record):
    """How one column is compared, in the terms of WideSearch's `eval_pipeline`."""

    preprocess: tuple[str, ...] = ()
    metric: tuple[str, ...] = ("exact_match",)
    """Names from `wideseek_core.comparators`; without any, the judge decides as it does on a column
    without a rule, except in official mode, where such a column adds nothing."""
    criterion: float | str | None = None
    """Relative tolerance for `number_near`, instruction for `llm_judge`."""


class TableGold(Record):
    """A reference table."""

    kind: Literal["table"] = "table"
    text: str
    """The table itself, in `format`."""
    format: Literal["markdown", "csv"] = "markdown"
    key_columns: tuple[str, ...]
    """The columns that together name a row (`unique_columns`)."""
    required_columns: tuple[str, ...]
    rules: dict[str, ColumnRule] = {}
    """Per column; a column without a rule is compared by the judge's default."""
    normalize_columns: bool = True
    """Match column names in lower case and without spaces; false matches them as written. The
    official mode always normalizes them."""


class TextGold(Record):
    """One or several reference strings, any of which is right."""

    kind: Literal["text"] = "text"
    answers: tuple[str, ...] = Field(min_length=1)


class Task(Record):
    """A question and what would be right."""

    id: str
    question: str
    language: Language = "en"
    gold: Annotated[TableGold | TextGold, Field(discriminator="kind")]
    source: str = ""
    """Where it comes from: a data set's name, a domain of the atlas."""
    rows: int = 0
    """Rows of the reference table; 0 if unknown or not a table."""


def source_of(name: str) -> str:
    """The data set or domain of a task's source, without what comes after a slash."""
    return name.partition("/")[0] or "unnamed"
