"""What cells say: numbers, amounts of money, dates and years, and cells without a value.

Only cells that are a value as a whole are read: a column of `1,900 (estimated)` stays text.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from wideseek_core.dates import PartialDate, parse_date

MISSING = frozenset(
    ("", "-", "–", "—", "−", "n/a", "na", "none", "null", "nil", "?", "unknown", "tba", "tbd")
)
MIN_VALUES = 3
"""A column with fewer values is text."""
MAX_MISSING = 0.3
"""Share of cells without a value that an ordered column may have."""

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ \u00a0\u202f]\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_CURRENCY = r"(?:[A-Z]{0,3}[$€£¥₹]|USD|EUR|GBP)"
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "万": 1e4, "亿": 1e8}
_MONEY = re.compile(
    rf"(?P<before>{_CURRENCY}) ?(?P<digits>{_DIGITS})(?: ?(?P<scale>{'|'.join(_SCALES)}))?"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+\-−–]?)(?P<digits>{_DIGITS})"
    r"(?P<unit>%| ?[A-Za-z°µ]{1,6}[²³23]?(?:/[a-z]{1,4}[²³23]?)?)?"
)
_ORDINAL = re.compile(r"(\d{1,4})(?:st|nd|rd|th)")
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")
_RECENT = re.compile(r"1[89][0-9]{2}|20[0-4][0-9]")
_CHINESE_YEAR = re.compile(r"[1-9]\d{3} ?年")
_YEAR_NAMES = re.compile(
    r"\b(year|years|season|founded|established|built|completed|opened|released|release|formed|"
    r"introduced|joined|inception|date|since|from|until|elected|born|died|debut)\b|年",
    re.IGNORECASE,
)


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().casefold().rstrip(".") in MISSING


def normalized(text: str) -> str:
    """Letters and digits alone, in lower case and without accents, words parted by one space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(
        char if char.isalnum() else " " for char in plain if not unicodedata.combining(char)
    )
    return " ".join(plain.split())


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit."""

    size: float
    unit: str = ""
    kind: Literal["number", "money"] = "number"


@lru_cache(maxsize=65536)
def read_amount(cell: str) -> Amount | None:
    """The number or sum of money that a cell is as a whole; None for anything else."""
    text = cell.strip()
    if match := _MONEY.fullmatch(text):
        scale = match["scale"] or ""
        size = _plain(match["digits"]) * _SCALES.get(scale, 1.0)
        return Amount(size, match["before"], "money")
    if match := _ORDINAL.fullmatch(text):
        return Amount(float(match[1]))
    match = _NUMBER.fullmatch(text)
    if match is None or re.match(r"0\d", match["digits"]):
        return None
    size = _plain(match["digits"])
    return Amount(
        -size if match["sign"] in "-−–" and match["sign"] else size, (match["unit"] or "").strip()
    )


def _plain(digits: str) -> float:
    return float(re.sub(r"[, \u00a0\u202f]", "", digits))


@lru_cache(maxsize=65536)
def read_date(cell: str) -> float | None:
    """The day, month or year that a cell is as a whole, as a number that grows with time."""
    date = _date(cell)
    return None if date is None else float(date.first_day().toordinal())


def _date(cell: str) -> PartialDate | None:
    """The date that a cell is; none with a time of day, since two of one day would be equal."""
    text = cell.strip()
    if _YEAR.fullmatch(text) or _CHINESE_YEAR.fullmatch(text):
        return PartialDate(year=int(text[:4]))
    return None if ":" in text else parse_date(text)


def sort_value(cell: str, kind: str) -> float | None:
    """A cell as a number to compare within a column of that type; None without a value."""
    if kind == "date":
        return read_date(cell)
    amount = read_amount(cell)
    return None if amount is None else amount.size


def type_of(name: str, cells: Sequence[str]) -> tuple[str, str]:
    """The type of a column (`text`, `number`, `money`, `date`), and the unit of its cells."""
    given = [cell for cell in cells if not is_missing(cell)]
    if len(given) < MIN_VALUES or len(given) < (1 - MAX_MISSING) * len(cells):
        return "text", ""
    if all(_RECENT.fullmatch(cell.strip()) for cell in given) and not _YEAR_NAMES.search(name):
        return "text", ""  # these look like years, but nothing says so
    if all(read_date(cell) is not None for cell in given):
        return ("date", "") if _YEAR_NAMES.search(name) or _has_words(given) else ("number", "")
    amounts = [read_amount(cell) for cell in given]
    units = {(amount.kind, amount.unit) for amount in amounts if amount is not None}
    if None in amounts or len(units) != 1:
        return "text", ""
    return units.pop()


def _has_words(cells: Sequence[str]) -> bool:
    return any(not _YEAR.fullmatch(cell.strip()) for cell in cells)


def date_precision(cells: Sequence[str]) -> str:
    """`day`, `month` or `year` if all dates of a column are given so; "" for a mixture."""
    found = {_precision(_date(cell)) for cell in cells if not is_missing(cell)}
    return found.pop() if len(found) == 1 else ""


def _precision(date: PartialDate | None) -> str:
    if date is None:
        return ""
    return "day" if date.day else "month" if date.month else "year"
