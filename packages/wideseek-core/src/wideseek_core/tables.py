"""Tables out of text: Markdown as models write it, and CSV as references are stored.

The one tolerant reader of all packages. What a table's columns are called elsewhere, and which of
several tables is meant, is for others to decide.
"""

import csv
import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wideseek_core.errors import DataError

_FENCE = re.compile(r"^\s*(?:>\s?)*(?:(?:[-*+•]|\d{1,3}[.)])\s+)?(`{3,}|~{3,})\s*([\w+-]*)")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_EDGES = " \t\r\f\v\u3000\u00a0\ufeff\u200b"
MAX_PIPES = 1000
"""A line with more is no row of a table."""

_OTHER_PIPES = "｜│┃║￨"
_TO_PIPES = str.maketrans(dict.fromkeys(_OTHER_PIPES, "|"))
_OUTER = re.compile(rf"^[{_OTHER_PIPES}]|[{_OTHER_PIPES}]$")
_QUOTE = re.compile(r"^\s*(?:[>＞]\s?)+")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+(?=\|)")

_DASH = "-=_~‐‑‒–—―−－＝ー─━═┄┅┈┉╌╍╴╶╸╺"
_JOINT = "|+" + "".join(
    character for character in map(chr, range(0x2500, 0x2580)) if character not in _DASH + "│┃║"
)
"""What parts the cells of a rule; of the box-drawing block, all that are no plain lines."""
_RULE_CELL = rf"[ \t\u3000]*[:：]?[{_DASH}]+(?:[ \t\u3000]+[{_DASH}]+)*[:：]?[ \t\u3000]*"
_RULE = re.compile(rf"(?:[ \t\u3000]*[{_JOINT}]|{_RULE_CELL}(?:[{_JOINT}]|$))+")
_HAS_DASH = re.compile(rf"[{_DASH}]")
_LONE_PLUS = re.compile(rf"(?<![{_DASH}:：])\+(?![{_DASH}:：])")
_TO_RULE_PIPES = str.maketrans(dict.fromkeys(_JOINT, "|"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownTable:
    """A header and rows of the same width; cells are stripped text.

    Example: `MarkdownTable(columns=("Name", "Age"), rows=(("Ada", "36"),))`
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as Markdown text that `parse_table` reads back."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def parse_table(text: str) -> MarkdownTable | None:
    """The last table of a text, fenced or not; None without any."""
    return next(reversed(find_tables(text)), None)


def find_tables(text: str) -> list[MarkdownTable]:
    """All tables of a text, in order. Never raises; takes time linear in the text's length."""
    tables: list[MarkdownTable] = []
    for run in _runs(_lines(text)):
        tables.extend(_tables_in(run))
    return tables


def around_table(text: str) -> tuple[str, str]:
    """What stands before and after the last table of a text, without its fence; stripped.

    Of a text without a table, all of it stands before.
    """
    lines = _lines(text)
    runs = [run for run in _runs(lines) if _tables_in(run)]
    if not runs:
        return text.strip(), ""
    before, after = lines[: runs[-1].start], lines[runs[-1].end :]
    while before and not before[-1].strip():
        before.pop()
    opened = runs[-1].fenced and bool(before) and _FENCE.match(before[-1]) is not None
    closed = next((at for at, line in enumerate(after) if line.strip()), len(after))
    if opened:
        before.pop()
        if closed < len(after) and _FENCE.match(after[closed]):
            after = after[closed + 1 :]
    return "\n".join(before).strip(), "\n".join(after).strip()


def parse_csv(text: str) -> MarkdownTable | None:
    """A CSV text with a header line (a byte-order mark is dropped); None if it is empty.

    Raises `DataError` for what is no CSV.
    """
    lines = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    try:
        rows = [[cell.strip(_EDGES) for cell in row] for row in lines if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"not CSV: {error}") from None
    if not rows:
        return None
    columns = _unique(rows[0])
    return MarkdownTable(columns=columns, rows=tuple(_fit(row, len(columns)) for row in rows[1:]))


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@dataclass(frozen=True, slots=True)
class _Run:
    """Lines with pipes, without block quotes' marks, and where they are in the text."""

    lines: list[str]
    start: int
    end: int
    fenced: bool


def _tables_in(run: _Run) -> list[MarkdownTable]:
    return [table for table in _tables_of(run.lines) if table.columns]


def _runs(lines: Sequence[str]) -> Iterator[_Run]:
    """Runs of lines with pipes. Inside a fence, lines without pipes don't end a run."""
    run: list[str] = []
    start = end = 0
    fence = ""
    for at, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark is not None:
            if run:
                yield _Run(_unquoted(run), start, end, bool(fence))
                run = []
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        elif _may_be_row(line):
            start, end = (start if run else at), at + 1
            run.append(line.strip(_EDGES))
        elif run and not fence:
            yield _Run(_unquoted(run), start, end, bool(fence))
            run = []
    if run:
        yield _Run(_unquoted(run), start, end, bool(fence))


def _may_be_row(line: str) -> bool:
    if "|" in line or any(pipe in line for pipe in _OTHER_PIPES):
        return line.count("|") <= MAX_PIPES
    return _is_grid_line(line)


def _is_grid_line(line: str) -> bool:
    """Lines like `+----+----+` and `├────┼────┤`, which have no pipe."""
    line = line.strip(_EDGES)
    return len(line) > 2 and line[0] in _JOINT and line[-1] in _JOINT and _is_rule(line)


def _unquoted(run: list[str]) -> list[str]:
    """Lines without the marks of block quotes; a single `>` in a cell is text."""
    if all(_QUOTE.match(line) for line in run):
        return [_QUOTE.sub("", line).strip(_EDGES) for line in run]
    return run


def _bare(line: str) -> str:
    """A line without the marks of a block quote or a list in front of its first pipe."""
    if line[:1] == "|":
        return line
    rest = _QUOTE.sub("", line).strip(_EDGES)
    line = rest if rest[:1] and rest[0] in "|" + _OTHER_PIPES else line
    return _LIST_MARK.sub("", line)


def _tables_of(lines: Sequence[str]) -> Iterator[MarkdownTable]:
    """The tables in a run of lines with pipes: each begins at the line before a rule."""
    rules = [_is_rule(_bare(line)) for line in lines]
    starts = [
        at - 1
        for at in range(1, len(lines))
        if rules[at] and not rules[at - 1] and _fits(lines[at - 1], lines[at])
    ]
    if not starts:
        # No rule: taken for a table only if its lines look like rows.
        if len(lines) >= 2 and not all(rules) and all(map(_has_outer_pipe, lines)):
            yield _table(lines, rules, None)
        return
    # A line between two rules is a row of a table that has a rule below every row, or in a grid.
    starts = [at for at in starts if at == starts[0] or not rules[at - 1]]
    if starts[0] >= 2 and all(map(_has_outer_pipe, lines[: starts[0]])):
        starts.insert(0, 0)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        rule = lines[start + 1] if rules[start + 1] else None
        yield _table(lines[start:end], rules[start:end], rule)


def _has_outer_pipe(line: str) -> bool:
    return _bare(line)[:1] in tuple("|" + _OTHER_PIPES) or _is_grid_line(line)


def _is_rule(line: str) -> bool:
    """A line of dashes between pipes (or `+`, or box drawing), as Markdown and grids have it."""
    if _HAS_DASH.search(line) is None:
        return False
    line = line.translate(_TO_PIPES)
    return _RULE.fullmatch(line) is not None and _LONE_PLUS.search(line) is None


def _rule_width(rule: str) -> int:
    return len(_cells(_bare(rule).translate(_TO_PIPES).translate(_TO_RULE_PIPES)))


def _fits(header: str, rule: str) -> bool:
    """Rules below data rows are decoration: a real one is as wide as the header above it."""
    width = _rule_width(rule)
    return len(_row(header, width)) == width


def _table(lines: Sequence[str], rules: Sequence[bool], rule: str | None) -> MarkdownTable:
    data = [line for line, is_rule in zip(lines, rules, strict=True) if not is_rule]
    header = _row(data[0], _rule_width(rule)) if rule else _cells(_bare(data[0]))
    columns = _unique(header)
    rows = [_row(line, len(columns)) for line in data[1:]]
    return MarkdownTable(
        columns=columns, rows=tuple(_fit(row, len(columns)) for row in rows if any(row))
    )


def _row(line: str, width: int) -> list[str]:
    """The cells of a line, read so that there are `width` of them if there is such a reading.

    Whether `｜` parts cells or is text, and whether `> ` or `- ` is a mark or a cell, shows only
    in the width.
    """
    bare = _OUTER.sub("|", _bare(line))
    readings = [bare] if line.endswith(tuple("|" + _OTHER_PIPES)) else [line, bare]
    readings += [reading.translate(_TO_PIPES) for reading in readings if "|" in reading]
    cells = [_cells(reading) for reading in dict.fromkeys(readings)]
    return next((found for found in cells if len(found) == width), cells[0])


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
    if "|" not in line:
        line = line.translate(_TO_PIPES)
    if "\\" in line:
        parts = [part.replace("\\|", "|") for part in _split_escaped(line)]
    else:
        parts = line.split("|")
    if parts and not parts[0].strip(_EDGES):
        parts = parts[1:]
    if parts and not parts[-1].strip(_EDGES):
        parts = parts[:-1]
    return [_text_of(part) for part in parts]


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


def _text_of(cell: str) -> str:
    cell = cell.strip(_EDGES)
    if "<" in cell:
        cell = _BREAK.sub(" ", cell)
    if "&" in cell:
        cell = html.unescape(cell)
    return cell
