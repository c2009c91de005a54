"""Tables out of text: Markdown as models write it, and CSV as references are stored."""

import csv
import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wideseek_judge.canonical import plain

_FENCE = re.compile(r"^\s{0,3}(?:>\s?)*(`{3,}|~{3,})\s*([\w+-]*)")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_MOST_PIPES = 1000
"""A line with more is no row of a table."""
_EDGES = " \t\r\f\v\u3000\u00a0\ufeff\u200b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A header and rows of the same width; cells are stripped text.

    Example: `Table(columns=("Name", "Age"), rows=(("Ada", "36"),))`
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def column_name(name: str) -> str:
    """The normal form of a column name: no markup, no spaces, lower case."""
    return "".join(plain(name).lower().split())


def parse_table(markdown: str) -> Table | None:
    """The last table of a text, fenced or not; None without any."""
    return next(reversed(find_tables(markdown)), None)


def choose_table(markdown: str, required: Iterable[str]) -> Table | None:
    """The last table that has the required columns, else the one that has most of them.

    Among those that have equally many the last one counts. `required` are normal forms.
    """
    wanted = set(required)
    best: Table | None = None
    best_hits = -1
    for table in reversed(find_tables(markdown)):
        hits = len(wanted & {column_name(name) for name in table.columns})
        if hits > best_hits:
            best, best_hits = table, hits
    return best


def find_tables(markdown: str) -> list[Table]:
    """All tables of a text, in order. Never raises; takes time linear in the text's length."""
    tables: list[Table] = []
    for block in _blocks(markdown):
        tables.extend(_tables_of(block))
    return tables


def _blocks(markdown: str) -> Iterator[list[str]]:
    """Runs of lines with pipes. Inside a fence, lines without pipes don't end a run."""
    run: list[str] = []
    fence = ""
    for line in markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        mark = _FENCE.match(line)
        if mark is not None:
            if run:
                yield run
                run = []
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
            continue
        if "|" not in line and "｜" in line:
            line = line.replace("｜", "|")
        if "|" in line and line.count("|") <= _MOST_PIPES:
            run.append(line.strip(_EDGES))
        elif run and not fence:
            yield run
            run = []
    if run:
        yield run


def _tables_of(lines: Sequence[str]) -> Iterator[Table]:
    """The tables in a run of lines with pipes: each begins at the line before a rule."""
    rules = [
        index
        for index in range(1, len(lines))
        if _is_rule(lines[index]) and not _is_rule(lines[index - 1])
    ]
    starts = [index - 1 for index in rules if _fits(lines[index - 1], lines[index])]
    if not starts:
        # No rule: taken for a table only if its lines look like rows.
        if len(lines) >= 2 and all(line.startswith("|") for line in lines):
            yield _table(lines)
        return
    if starts[0] >= 2 and all(line.startswith("|") for line in lines[: starts[0]]):
        starts.insert(0, 0)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield _table(lines[start:end])


def _is_rule(line: str) -> bool:
    return "-" in line and not line.strip("|-: \t")


def _fits(header: str, rule: str) -> bool:
    """Rules below data rows are decoration: a real one is as wide as the header above it."""
    return len(_cells(header)) == len(_cells(rule))


def _table(lines: Sequence[str]) -> Table:
    header = _cells(lines[0])
    columns = _unique(header)
    rows: list[tuple[str, ...]] = []
    for line in lines[1:]:
        if _is_rule(line):
            continue
        cells = _cells(line)
        if any(cells):
            rows.append(_fit(cells, len(columns)))
    return Table(columns=columns, rows=tuple(rows))


def _fit(cells: Sequence[str], width: int) -> tuple[str, ...]:
    """Short rows are filled with empty cells, surplus cells are dropped, as GitHub does."""
    return (*cells[:width], *("",) * (width - len(cells)))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Column names with a count behind repeated ones: `Name`, `Name.1`."""
    seen: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        unique.append(f"{name}.{count}" if count else name)
    return tuple(unique)


def _cells(line: str) -> list[str]:
    """The cells of one line, outer pipes optional, escaped pipes kept as pipes."""
    if "\\" in line:
        parts = [part.replace("\\|", "|") for part in _split_escaped(line)]
    else:
        parts = line.split("|")
    if parts and not parts[0].strip(_EDGES):
        parts = parts[1:]
    if parts and not parts[-1].strip(_EDGES):
        parts = parts[:-1]
    return [_clean(part) for part in parts]


def _split_escaped(line: str) -> list[str]:
    parts: list[str] = []
    start = 0
    position = line.find("|")
    while position >= 0:
        slashes = 0
        while slashes < position - start and line[position - 1 - slashes] == "\\":
            slashes += 1
        if slashes % 2 == 0:
            parts.append(line[start:position])
            start = position + 1
        position = line.find("|", position + 1)
    parts.append(line[start:])
    return parts


def _clean(cell: str) -> str:
    cell = cell.strip(_EDGES)
    if "<" in cell:
        cell = _BREAK.sub(" ", cell)
    if "&" in cell:
        cell = html.unescape(cell)
    return cell


@lru_cache(maxsize=1024)
def parse_csv(text: str) -> Table | None:
    """A CSV text with a header line (a byte-order mark is dropped); None if it is empty."""
    lines = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    rows = [[cell.strip(_EDGES) for cell in row] for row in lines if any(map(str.strip, row))]
    if not rows:
        return None
    columns = _unique(rows[0])
    return Table(columns=columns, rows=tuple(_fit(row, len(columns)) for row in rows[1:]))


@lru_cache(maxsize=1024)
def parse_markdown(text: str) -> Table | None:
    """Like `parse_table`, remembered: for reference tables, which are read again and again."""
    return parse_table(text.lstrip("\ufeff"))
