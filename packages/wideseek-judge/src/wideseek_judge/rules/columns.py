"""Column names: their normal form, and the table of an answer that has the required ones."""

from collections.abc import Iterable

from wideseek_core.tables import MarkdownTable, find_tables
from wideseek_judge.text.canonical import plain


def column_name(name: str) -> str:
    """The normal form of a column name: no markup, no spaces, lower case."""
    return "".join(plain(name).lower().split())


def choose_table(markdown: str, required: Iterable[str]) -> MarkdownTable | None:
    """The last table that has the required columns, else the one that has most of them.

    Among those that have equally many the last one counts. `required` are normal forms.
    """
    wanted = set(required)
    best: MarkdownTable | None = None
    best_hits = -1
    for table in reversed(find_tables(markdown)):
        hits = len(wanted & {column_name(name) for name in table.columns})
        if hits > best_hits:
            best, best_hits = table, hits
    return best
