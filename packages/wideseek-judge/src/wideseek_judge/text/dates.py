"""Dates as people write them in cells, read without a clock: what is not said stays unknown."""

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache

from dateutil import parser as dateutil_parser

from wideseek_judge.text.numerals import NUMERALS, chinese_number

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sep sept",
            "october oct",
            "november nov",
            "december dec",
        ),
        1,
    )
    for name in names.split()
}
_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?Z| ?[+-]\d{2}:?\d{2})?)?"
_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? ", re.IGNORECASE)
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_YEAR}[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){_TIME}",
        rf"{_DAY}(?: of)? {_MONTH},? {_YEAR}",
        rf"{_MONTH} {_DAY},? {_YEAR}",
        rf"{_YEAR},? {_MONTH} {_DAY}",
        rf"{_DAY}-{_MONTH}-{_YEAR}",
        rf"{_MONTH},? {_YEAR}",
        r"(?P<year>\d{4}) ?年 ?(?P<month>\d{1,2}) ?月(?: ?(?P<day>\d{1,2}) ?[日号])?",
    )
)
_NUMERIC = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_YEAR_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})")
_YEAR_ALONE = re.compile(r"(\d{4}) ?年?")
_FOUR_DIGITS = re.compile(r"\d{4}")
_HAS_YEAR = re.compile(r"\b\d{4}\b")
_HAS_WORD = re.compile(r"[A-Za-z]{3}")


_IN_NUMERALS = re.compile(rf"[{NUMERALS}]{{1,4}}(?=[年月日号])")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialDate:
    """A date of which the day, or day and month, may be unsaid."""

    year: int
    month: int | None = None
    day: int | None = None

    def first_day(self) -> datetime.date:
        """The first day it may mean."""
        return datetime.date(self.year, self.month or 1, self.day or 1)

    def __str__(self) -> str:
        parts = [f"{self.year:04d}"]
        parts += [f"{part:02d}" for part in (self.month, self.day) if part is not None]
        return "-".join(parts)


@lru_cache(maxsize=65536)
def parse_date(text: str) -> PartialDate | None:
    """The date that `text` is as a whole, to the month at least; None for anything else.

    Numeric dates whose day and month could be swapped are not read, except with dots (day first).
    """
    text = _WEEKDAY.sub("", text.strip())
    if len(text) <= 40 and _IN_NUMERALS.search(text):
        text = _IN_NUMERALS.sub(_in_digits, text)
    if len(text) > 40 or not _FOUR_DIGITS.search(text):
        return None
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return _valid(
                match["year"], match["month"], match["day"] if "day" in form.groupindex else None
            )
    match = _NUMERIC.fullmatch(text)
    return _numeric(match[1], match[2], match[3], match[4]) if match else None


@lru_cache(maxsize=65536)
def read_date(text: str) -> PartialDate | None:
    """Like `parse_date`, and also years alone, year-month, and dates with surplus words."""
    found = parse_date(text)
    if found is not None:
        return found
    text = text.strip()
    match = _YEAR_MONTH.fullmatch(text)
    if match is not None:
        return _valid(match[1], match[2], None)
    match = _YEAR_ALONE.fullmatch(text)
    if match is not None and match[1] != "0000":
        return PartialDate(year=int(match[1]))
    if len(text) > 60 or not (_HAS_YEAR.search(text) and _HAS_WORD.search(text)):
        return None
    return _with_surplus(text)


def _in_digits(match: re.Match[str]) -> str:
    number = chinese_number(match[0])
    return match[0] if number is None else str(number)


def _with_surplus(text: str) -> PartialDate | None:
    try:
        # A fixed default, so that what is unsaid never depends on today.
        found = dateutil_parser.parse(text, default=datetime.datetime(2000, 1, 1), ignoretz=True)
    except (ValueError, OverflowError):
        return None
    return PartialDate(year=found.year, month=found.month, day=found.day)


def _valid(year: str, month: str, day: str | None) -> PartialDate | None:
    number = int(month) if month.isdigit() else _MONTHS.get(month.lower(), 0)
    try:
        datetime.date(int(year), number, int(day or 1))
    except ValueError:
        return None
    return PartialDate(year=int(year), month=number, day=int(day) if day else None)


def _numeric(first: str, separator: str, second: str, year: str) -> PartialDate | None:
    if separator == "." or int(first) > 12 or first == second:
        return _valid(year, second, first)
    return _valid(year, first, second) if int(second) > 12 else None
