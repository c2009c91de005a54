"""Which columns, values and keys a question can name without being read in two ways."""

import re
from collections import Counter

from wideseek_data.tables.table import Column, ColumnType, Table
from wideseek_data.tables.values import is_missing, normalized

MAX_CELL = 80
"""Characters of a cell that is asked for."""
MAX_NAMED = 40
"""Characters of a value or key that a question names."""
_NAME = re.compile(r"[^\W_][\w \-/().%'’²&+#]{0,38}|#")
_LEFTOVER = re.compile(r"\. [^.:]{1,40}:+ ")
_NOTES = re.compile(
    r"notes?|remarks?|comments?|ref(?:s|erences?)?\.?|source|coordinates|ipa|备注", re.IGNORECASE
)
_ADDITIVE = re.compile(
    r"attendance|goals?\b|points|votes|population|^gold$|^silver$|^bronze$|^total$|wins?$|losses"
    r"|seats|medals|laps|matches|^apps$|appearances|gross|production|episodes|capacity|enrollment"
    r"|students|passengers|area|tries|caps|runs|wickets|titles|championships|casualties|killed",
    re.IGNORECASE,
)
_RANK = re.compile(
    r"(?:final |year-end |nightly |preliminary )?rank(?:ing)?\b.*|pos\.?|position|place|number"
    r"|week|round|order.*|pick ?#?|seed|grid|game|match|event|lane|heat|draw|stage|leg|day|disc"
    r"|issue|track.*|volume|.*#|#|n°|(?:s|sr)?\.? ?no\.?(?: in .*)?|selection|code|district|km|mile"
    r"|channel|frequency|series|episode|squad.*|.*page number",
    re.IGNORECASE,
)


def is_askable(table: Table, column: Column) -> bool:
    """Whether a question can ask for the column: a clear name, short and mostly present cells."""
    cells = table.cells(column.name)
    given = [cell for cell in cells if not is_missing(cell)]
    return (
        column.name != table.key
        and _NAME.fullmatch(column.name) is not None
        and _NOTES.fullmatch(column.name) is None
        and len(given) >= 0.7 * len(cells)
        and max(map(len, given), default=MAX_CELL + 1) <= MAX_CELL
        and not any(_LEFTOVER.search(cell) for cell in given)
        and not any("\ufeff" in cell or '"' * 2 in cell for cell in given)
    )


def askable(table: Table) -> list[str]:
    """The columns that questions can ask for, in the table's order."""
    return [column.name for column in table.columns if is_askable(table, column)]


def is_rank(name: str) -> bool:
    """Whether a column numbers the rows, so that its largest value is no achievement."""
    return _RANK.fullmatch(name.strip()) is not None


def is_additive(table: Table, name: str) -> bool:
    """Whether sums and differences of the column mean something."""
    column = table.column(name)
    return (
        column.type in (ColumnType.NUMBER, ColumnType.MONEY)
        and _ADDITIVE.search(name) is not None
        and not is_rank(name)
    )


def groups(table: Table, name: str) -> dict[str, int]:
    """The values of a text column that several rows share, with how many.

    Empty for a column in which one value is part of another's text: `Won` and `Won (aet)`.
    """
    column = table.column(name)
    if column.type is not ColumnType.TEXT:
        return {}
    counts = Counter(cell for cell in table.cells(name) if not is_missing(cell))
    plain = [normalized(value) for value in counts]
    if len(set(plain)) < len(plain) or not all(plain):
        return {}
    return {
        value: count
        for value, count in counts.items()
        if len(value) <= MAX_NAMED and not is_part_of_another(normalized(value), plain)
    }


def is_part_of_another(value: str, others: list[str]) -> bool:
    """Whether a value's words stand inside another value, or the other's inside it."""
    padded = f" {value} "
    return any(
        other != value and (padded in f" {other} " or f" {other} " in padded) for other in others
    )


def nameable_keys(table: Table) -> list[str]:
    """The keys that a question can name: short, and not part of another key."""
    keys = table.cells(table.key)
    plain = [normalized(key) for key in keys]
    return [
        key
        for key, text in zip(keys, plain, strict=True)
        if len(key) <= MAX_NAMED and not is_part_of_another(text, plain)
    ]
