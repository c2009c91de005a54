"""Column names: their normal form, and the table of an answer that has the required ones."""

from collections.abc import Iterable

from wideseek_core.tables import MarkdownTable, find_tables
from wideseek_judge.text.canonical import plain


def column_name(name: str, *, normalize: bool = True) -> str:
    """The form in which column names are compared.

    Without markup, and without spaces and in lower case unless names match as they are written.
    """
    return "".join(plain(name).lower().split()) if normalize else plain(name).strip()


def choose_table(
    markdown: str, required: Iterable[str], *, normalize: bool = True
) -> MarkdownTable | None:
    """The last table that has the required columns, else the one that has most of them.

    Among those that have equally many the last one counts. `required` are in the form that
    `column_name` gives.
    """
    wanted = set(required)
    best: MarkdownTable | None = None
    best_hits = -1
    for table in reversed(find_tables(markdown)):
        names = {column_name(name, normalize=normalize) for name in table.columns}
        hits = len(wanted & names)
        if hits > best_hits:
            best, best_hits = table, hits
    return best
