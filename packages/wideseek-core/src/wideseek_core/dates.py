"""Dates as people write them, read without a clock: what is not said stays unknown."""

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache

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
_FOUR_DIGITS = re.compile(r"\d{4}")
MAX_CHARACTERS = 40


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
    A time behind a date is ignored.
    """
    text = _WEEKDAY.sub("", text.strip())
    if len(text) > MAX_CHARACTERS or not _FOUR_DIGITS.search(text):
        return None
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return partial_date(
                match["year"], match["month"], match["day"] if "day" in form.groupindex else None
            )
    match = _NUMERIC.fullmatch(text)
    return _numeric(match[1], match[2], match[3], match[4]) if match else None


def partial_date(year: str, month: str, day: str | None) -> PartialDate | None:
    """The date of a year, a month's number or English name, and a day; None if there is none."""
    number = int(month) if month.isdigit() else _MONTHS.get(month.lower(), 0)
    try:
        datetime.date(int(year), number, int(day or 1))
    except ValueError:
        return None
    return PartialDate(year=int(year), month=number, day=int(day) if day else None)


def _numeric(first: str, separator: str, second: str, year: str) -> PartialDate | None:
    if separator == "." or int(first) > 12 or first == second:
        return partial_date(year, second, first)
    return partial_date(year, first, second) if int(second) > 12 else None
