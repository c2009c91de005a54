"""The table of an answer, and where the required columns are in it."""

from collections.abc import Iterable, Sequence

from wideseek_core.tables import MarkdownTable, find_tables
from wideseek_judge.text.canonical import plain
from wideseek_judge.verdicts import Alignment, JudgingContext, Verdicts


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


async def locate_columns(
    context: JudgingContext,
    names: Sequence[str],
    required: Sequence[str],
    verdicts: Verdicts,
    *,
    align: bool,
) -> list[int | None]:
    """The position of each required column among names; None for a missing one.

    With `align`, columns of other names are found by those who give the verdicts.
    """
    positions = [names.index(name) if name in names else None for name in required]
    wanted = [name for name, at in zip(required, positions, strict=True) if at is None]
    spare = [name for name in dict.fromkeys(names) if name and name not in required]
    if not (align and wanted and spare):
        return positions
    names_only = Alignment(column="", values=spare, references=wanted)
    (aligned,) = await verdicts.align(context, [names_only])
    for name in spare:
        found = aligned.get(name)
        if found in wanted and positions[required.index(found)] is None:
            positions[required.index(found)] = names.index(name)
    return positions
