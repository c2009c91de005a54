"""The preprocess and metric functions of the official WideSearch evaluator, quirks included."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlparse

import dateparser

from wideseek_core import ColumnRule
from wideseek_judge.verdicts import Verdict

_NUMBER = re.compile(r"[-+]?\d*\.\d+%?|[-+]?\d+\.?\d*%?")
_URL = re.compile(
    r"http[s]?://(?:[a-zA-Z]|[0-9]|[$-_@.&+]|[!*\\(\\),]|(?:%[0-9a-fA-F][0-9a-fA-F]))+"
)


def extract_number(value: str) -> str:
    """The first number, commas dropped, percent sign kept; `NULL` without any."""
    match = _NUMBER.search(value.replace(",", ""))
    return match.group() if match else "NULL"


def norm_str(value: str) -> str:
    """Lower case without spaces and asterisks."""
    return value.lower().strip().replace(" ", "").replace("*", "")


def norm_date(value: str) -> str:
    """The day dateparser makes of it, which may depend on today; else the value as it is."""
    date = _parse_date(value)
    return date.strftime("%Y-%m-%d") if date is not None else value


def exact_match(answer: str, gold: str) -> bool:
    """Equal up to case."""
    return answer.lower() == gold.lower()


def in_match(answer: str, gold: str) -> bool:
    """The answer is part of the reference; an empty one is part of every reference."""
    return answer in gold


def url_match(answer: str, gold: str) -> bool:
    """The same set of hosts; without any host on either side the same set of addresses."""
    found, wanted = _addresses(answer), _addresses(gold)
    hosts, wanted_hosts = _hosts(found), _hosts(wanted)
    return hosts == wanted_hosts if hosts or wanted_hosts else found == wanted


def _addresses(value: str) -> set[str]:
    return set(cast(list[str], _URL.findall(value)))


def _hosts(addresses: set[str]) -> set[str]:
    return {host for address in addresses if (host := _host(address))}


def _host(address: str) -> str:
    """The host with its port. One that no standard allows, `http://[a`, is what stands there."""
    try:
        return urlparse(address).netloc
    except ValueError:
        host = address.partition("://")[2].partition("/")[0]
        host = host.partition("@")[2] or host
        inside, closed, _ = host[1:].partition("]")
        return inside if host.startswith("[") and closed else host


def number_near(answer: str, gold: str, criterion: float | str | None) -> bool:
    """Relative tolerance `criterion`; texts that are no numbers must be equal.

    Raises `TypeError` for a criterion that is no number.
    """
    number, target = _float(answer), _float(gold)
    if number is None or target is None:
        return number is None and target is None and answer == gold
    return abs(number - target) <= abs(target) * cast(Any, criterion)


def _float(value: str) -> float | None:
    try:
        return float(value.replace("%", "")) / 100.0 if "%" in value else float(value)
    except ValueError:
        return None


def date_near(answer: str, gold: str) -> bool:
    """At most 31 days apart; two values that are no dates count as near."""
    date, target = _parse_or_none(answer), _parse_or_none(gold)
    if date is None or target is None:
        return date is None and target is None
    return abs((date - target).days) <= 31


def _parse_or_none(value: str) -> Any:
    try:
        return _parse_date(value)
    except Exception:  # noqa: BLE001 - the official rule: what it chokes on is no date
        return None


@lru_cache(maxsize=65536)
def _parse_date(value: str) -> Any:
    return cast(Any, dateparser).parse(value, settings={"PREFER_DAY_OF_MONTH": "first"})


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


def preprocess(value: str, names: tuple[str, ...]) -> str:
    """Applies preprocess functions in order. Raises `KeyError` for an unknown one."""
    for name in names:
        value = _PREPROCESS[name](value)
    return value


def decide(metric: str, rule: ColumnRule, answer: str, gold: str) -> Verdict:
    """The verdict of one metric function. Raises `KeyError` for an unknown one."""
    if metric == "number_near":
        return Verdict(float(number_near(answer, gold, rule.criterion)), "number")
    function, by = _SIMPLE[metric]
    return Verdict(float(function(answer, gold)), by)
