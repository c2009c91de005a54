"""WideSearch's preprocess and metric functions with their quirks repaired.

The README of the package lists each repair. All take the raw cells, and are pure.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from wideseek_core import ColumnRule
from wideseek_core.comparators import installed_comparators
from wideseek_core.errors import NoVerdict
from wideseek_judge.text.canonical import canonical, fold, is_empty, plain, same
from wideseek_judge.text.dates import read_date
from wideseek_judge.text.numbers import find_number, first_number, parse_number
from wideseek_judge.verdicts import Verdict

_HOST = re.compile(r"(?:https?://|\bwww\.)[^\s<>()\[\]\"'|]{1,500}", re.IGNORECASE)
_BARE_HOST = re.compile(
    r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*\.[a-z]{2,24}(?:/\S*)?", re.IGNORECASE
)


def preprocess(value: str, names: tuple[str, ...]) -> str:
    """Applies preprocess functions in order."""
    for name in names:
        value = _PREPROCESS[name](value)
    return value


def extract_number(value: str) -> str:
    """The first number, scaled and without separators; a value without one stays as it is."""
    found = find_number(plain(value))
    return found.plain if found else value


def norm_str(value: str) -> str:
    """Lower case without markup and spaces."""
    return "".join(plain(value).lower().split()).replace("*", "")


def norm_date(value: str) -> str:
    """The date as far as it is said (`2003-01`), or the value as it is."""
    date = read_date(plain(value))
    return str(date) if date else value


def exact_match(answer: str, gold: str) -> bool:
    """Equal up to case, markup and the way of writing numbers and dates."""
    return same(answer, gold)


def in_match(answer: str, gold: str) -> bool:
    """The answer is part of the reference; an empty answer only of an empty reference."""
    if is_empty(answer) or is_empty(gold):
        return is_empty(answer) and is_empty(gold)
    return fold(answer) in fold(gold)


def url_match(answer: str, gold: str) -> bool:
    """The same set of hosts; without any host on either side, equal values."""
    found, target = hosts(answer), hosts(gold)
    return found == target if found or target else same(answer, gold)


def hosts(value: str) -> frozenset[str]:
    """The hosts of the addresses in a cell, lower case, without `www.`."""
    found = _HOST.findall(value) or _BARE_HOST.findall(value.strip())[:1]
    names: set[str] = set()
    for address in found:
        try:
            name = urlsplit(address if "://" in address else f"//{address}").hostname
        except ValueError:  # an unclosed bracket in the host
            continue
        if name:
            names.add(name.lower().removeprefix("www.").rstrip("."))
    return frozenset(names)


def number_near(answer: str, gold: str, tolerance: float) -> bool:
    """Relative difference to the reference at most `tolerance`; equal values always."""
    if same(answer, gold):
        return True
    number, target = _value(answer), _value(gold)
    if number is None or target is None:
        return False
    return abs(number - target) <= abs(target) * tolerance


def _value(cell: str) -> float | None:
    tidy = plain(cell)
    number = parse_number(tidy)
    if number is None:
        return first_number(tidy) if not is_empty(cell) else None
    return number.value / 100 if number.canonical_unit == "%" else number.value


def date_near(answer: str, gold: str) -> bool:
    """At most 31 days apart; values that are no dates must be equal."""
    date, target = read_date(plain(answer)), read_date(plain(gold))
    if date is None or target is None:
        return canonical(answer) == canonical(gold)
    return abs((date.first_day() - target.first_day()).days) <= 31


_PREPROCESS: dict[str, Callable[[str], str]] = {
    "extract_number": extract_number,
    "norm_str": norm_str,
    "norm_date": norm_date,
}
_SIMPLE: dict[str, tuple[Callable[[str, str], bool], str]] = {
    "exact_match": (exact_match, "exact"),
    "in_match": (in_match, "contains"),
    "url_match": (url_match, "url"),
    "date_near": (date_near, "date"),
}


def decide(metric: str, rule: ColumnRule, answer: str, gold: str) -> Verdict:
    """The verdict of one comparator; `llm_judge` is not among them."""
    if metric == "number_near":
        return Verdict(float(number_near(answer, gold, _tolerance(rule))), "number")
    if metric in _SIMPLE:
        function, by = _SIMPLE[metric]
        return Verdict(float(function(answer, gold)), by)
    return Verdict(_plugin_score(metric, rule, answer, gold), metric)


def _plugin_score(metric: str, rule: ColumnRule, answer: str, gold: str) -> float:
    """What an installed comparator says. Raises `NoVerdict` if it fails or gives no score."""
    try:
        score = float(installed_comparators()[metric](answer, gold, rule.criterion))
    except Exception as error:  # a plug-in can raise anything
        raise NoVerdict(f"comparator {metric!r}: {type(error).__name__}: {error}") from error
    if not 0.0 <= score <= 1.0:
        raise NoVerdict(f"comparator {metric!r}: {score} is no score from 0 to 1")
    return score


def _tolerance(rule: ColumnRule) -> float:
    """The rule's tolerance; none means that numbers must be equal."""
    try:
        return float(rule.criterion or 0.0)
    except ValueError:
        return 0.0
