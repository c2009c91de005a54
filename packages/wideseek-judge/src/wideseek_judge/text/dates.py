"""Dates of cells: those of `wideseek_core.dates`, in Chinese numerals, and with surplus words."""

import datetime
import re
from functools import lru_cache

from dateutil import parser as dateutil_parser

from wideseek_core import dates
from wideseek_core.dates import MAX_CHARACTERS, PartialDate, partial_date
from wideseek_judge.text.numerals import NUMERALS, chinese_number

_YEAR_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})")
_YEAR_ALONE = re.compile(r"(\d{4}) ?年?")
_HAS_YEAR = re.compile(r"\b\d{4}\b")
_HAS_WORD = re.compile(r"[A-Za-z]{3}")
_IN_NUMERALS = re.compile(rf"[{NUMERALS}]{{1,4}}(?=[年月日号])")


@lru_cache(maxsize=65536)
def parse_date(text: str) -> PartialDate | None:
    """The date that `text` is as a whole, to the month at least; None for anything else."""
    text = text.strip()
    if len(text) <= MAX_CHARACTERS and _IN_NUMERALS.search(text):
        text = _IN_NUMERALS.sub(_in_digits, text)
    return dates.parse_date(text)


@lru_cache(maxsize=65536)
def read_date(text: str) -> PartialDate | None:
    """Like `parse_date`, and also years alone, year-month, and dates with surplus words."""
    found = parse_date(text)
    if found is not None:
        return found
    text = text.strip()
    match = _YEAR_MONTH.fullmatch(text)
    if match is not None:
        return partial_date(match[1], match[2], None)
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
