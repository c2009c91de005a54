"""Delimited text as people export it: commas, semicolons or tabs, decimal commas, ragged rows."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wideseek_core import DataError

_Column = tuple[str, list[str]]
"""Name and cells."""
DELIMITERS = (",", ";", "\t", "|")
SAMPLE = 100
"""Rows that tell which delimiter a file has."""
_EDGES = " \t\r\f\v\u3000\u00a0\ufeff\u200b"
_SIGN = r"[+\-−]?"
_COMMA = re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:\.\d{{3}})+,\d+|\d+,(?:\d{{1,2}}|\d{{4,}})|0,\d+)")
"""Numbers that only make sense with a decimal comma."""
_POINT = re.compile(
    rf"{_SIGN}(?:\d{{1,3}}(?:,\d{{3}})+\.\d+|\d{{1,3}}(?:,\d{{3}}){{2,}}"
    r"|\d+\.(?:\d{1,2}|\d{4,})|0\.\d+)"
)
"""Numbers that only make sense with a decimal point."""
_EITHER = re.compile(rf"{_SIGN}[1-9]\d{{0,2}}[.,]\d{{3}}")
"""`1,234` and `1.234`, which may be more than a thousand or less than two."""
_NUMBER = re.compile(
    rf"{_SIGN}(?:\d{{1,3}}(?:\.\d{{3}})+|\d+)(?:,\d+)?(?: ?[%A-Za-z°µ€$£]{{1,6}}[²³]?)?"
)
"""A number with a decimal comma or none, and perhaps a unit."""
_SWAP = str.maketrans(",.", ".,")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimited:
    """What a file holds."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    surplus: int = 0
    """Rows that are left out because they have more cells than the header: a delimiter inside a
    cell has shifted them."""


def read_delimited(text: str, delimiter: str = "") -> Delimited | None:
    """The table of a text; None if it is empty. Raises `DataError` for what is no such text.

    Without a delimiter it is found out. Decimal commas become points, and columns whose numbers
    could be meant in two ways are left out.
    """
    text = text.lstrip("\ufeff")
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r"\s*\"?sep=(.)\"?\s*", first)
    if said is not None:  # as Excel begins a file
        text, delimiter = rest, said[1]
    delimiter = delimiter or _delimiter(text)
    rows = list(_rows(text, delimiter))
    if not rows:
        return None
    columns = rows[0]
    fitting = [(*row, *("",) * (len(columns) - len(row))) for row in rows[1:]]
    kept = [row for row in fitting if len(row) == len(columns)]
    read = _with_points(_named(columns, kept), semicolons=delimiter == ";")
    return Delimited(
        columns=tuple(name for name, _ in read),
        rows=tuple(zip(*(cells for _, cells in read), strict=True)),
        surplus=len(fitting) - len(kept),
    )


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            cells = [cell.strip(_EDGES) for cell in row]
            if any(cells):
                yield cells
    except csv.Error as error:
        raise DataError(f"not CSV: {error}") from None


def _delimiter(text: str) -> str:
    """The delimiter by which most rows are as wide as the header, and not one cell each."""
    best = (0.0, 0, DELIMITERS[0])
    for delimiter in DELIMITERS:
        widths: list[int] = []
        for row in _rows(text, delimiter):
            widths.append(len(row))
            if len(widths) > SAMPLE:
                break
        if widths and widths[0] > 1:
            alike = sum(width == widths[0] for width in widths) / len(widths)
            if (alike, widths[0]) > best[:2]:
                best = (alike, widths[0], delimiter)
    return best[2]


def _named(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[_Column]:
    """The columns with names of their own, without nameless ones that only number the rows."""
    found: list[_Column] = []
    seen = Counter[str]()
    for at, name in enumerate(names):
        cells = [row[at] for row in rows]
        numbers = {str(number) for number in range(len(cells) + 1)}
        if name or not numbers.issuperset(filter(None, cells)):
            seen[name] += 1
            found.append((f"{name} ({seen[name]})" if seen[name] > 1 else name, cells))
    return found


def _with_points(columns: Sequence[_Column], *, semicolons: bool) -> list[_Column]:
    """The columns with English numbers; in doubt, without those that can be read in two ways."""
    has_commas = any(_tells(_COMMA, cells) for _, cells in columns)
    has_points = any(_tells(_POINT, cells) for _, cells in columns)
    # Semicolons are used where the comma is taken; what the comma means has to be seen.
    in_doubt = has_commas == has_points and (has_commas or semicolons)
    found: list[_Column] = []
    for name, cells in columns:
        commas, points = _tells(_COMMA, cells), _tells(_POINT, cells)
        by_comma = (commas or (has_commas and not has_points)) and not points
        if by_comma and _are_numbers(cells):
            found.append((name, [cell.translate(_SWAP) for cell in cells]))
        elif commas or points or not in_doubt or not _tells(_EITHER, cells):
            found.append((name, cells))
    return found


def _tells(form: re.Pattern[str], cells: Sequence[str]) -> bool:
    return any(form.fullmatch(cell) for cell in cells)


def _are_numbers(cells: Sequence[str]) -> bool:
    given = [cell for cell in cells if any(map(str.isalnum, cell))]
    return bool(given) and all(_NUMBER.fullmatch(cell) for cell in given)
