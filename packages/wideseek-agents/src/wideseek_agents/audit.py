"""The coverage audit: what a draft table lacks, listed for the agent that wrote it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wideseek_core.tables import MarkdownTable, parse_table
from wideseek_core.text import one_line

MAX_GAPS = 40
"""Gaps that are listed; the others are left for the agent to find."""
_EMPTY_WORDS = frozenset(
    {
        "",
        "-",
        "–",
        "—",
        "?",
        "n/a",
        "na",
        "none",
        "unknown",
        "not found",
        "tbd",
        "nan",
        "null",
        "未知",
        "无",
        "不详",
        "暂无",
    }
)
_MARKS = re.compile(r"[\s,'*_`\u2019]+")


class GapKind(StrEnum):
    """What is wrong with a cell or a row. Each kind has its message in a prompt set."""

    EMPTY = "gap_empty"
    DUPLICATE = "gap_duplicate"
    UNSUPPORTED = "gap_unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A cell, or a row, that should be looked at again."""

    kind: GapKind
    row: str
    """The row's first cell."""
    column: str = ""
    value: str = ""


def find_gaps(answer: str, seen: Sequence[str]) -> list[Gap]:
    """The gaps of the table in an answer, given the texts that its author has seen.

    An answer without a table has none: there is nothing to point at.
    """
    table = parse_table(answer)
    if table is None:
        return []
    text = "\n".join(map(_normal, seen))
    return list(_gaps(table, text))[:MAX_GAPS]


def improves(draft: str, revised: str, seen: Sequence[str]) -> bool:
    """Whether a revised answer is to replace the draft.

    It is if it has a table of the same columns, names no fewer rows, and has fewer gaps.
    """
    before, after = parse_table(draft), parse_table(revised)
    if before is None or after is None:
        return after is not None
    text = "\n".join(map(_normal, seen))
    same_columns = set(map(_normal, before.columns)) == set(map(_normal, after.columns))
    gaps = [sum(1 for _ in _gaps(table, text)) for table in (before, after)]
    return same_columns and len(_keys(before)) <= len(_keys(after)) and gaps[1] < gaps[0]


def _keys(table: MarkdownTable) -> set[str]:
    return {_normal(cells[0]) for cells in table.rows if cells}


def _gaps(table: MarkdownTable, seen: str) -> Iterator[Gap]:
    rows: set[tuple[str, ...]] = set()
    for cells in table.rows:
        row = one_line(cells[0]) if cells else ""
        same = tuple(map(_normal, cells))
        if same in rows:
            yield Gap(kind=GapKind.DUPLICATE, row=row)
            continue
        rows.add(same)
        for column, cell in zip(table.columns, cells, strict=True):
            value = one_line(cell)
            if value.lower() in _EMPTY_WORDS:
                yield Gap(kind=GapKind.EMPTY, row=row, column=column)
            elif _normal(value) not in seen:
                yield Gap(kind=GapKind.UNSUPPORTED, row=row, column=column, value=value)


def _normal(text: str) -> str:
    """A text without marks, blanks and case, in which values can be searched."""
    return _MARKS.sub("", text).casefold()
