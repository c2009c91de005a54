"""The functions that a column's rule may name: known here, implemented by the judge.

Installed distributions add comparators in the group `wideseek.comparators`: functions of the
answer's cell, the reference's cell and the rule's criterion, which return a score in [0, 1].
"""

from collections.abc import Callable
from typing import cast

from wideseek_core.errors import ConfigError, DataError
from wideseek_core.plugins import installed
from wideseek_core.tasks import ColumnRule

GROUP = "wideseek.comparators"
PREPROCESS = ("extract_number", "norm_str", "norm_date")
"""Functions that are applied to a column's cells before they are compared."""
COMPARATORS = ("exact_match", "in_match", "url_match", "number_near", "date_near", "llm_judge")
"""Functions that compare an answer's cell with the reference's; `llm_judge` asks the judge."""

Comparator = Callable[[str, str, float | str | None], float]


def installed_comparators() -> dict[str, Comparator]:
    """The comparators of other distributions, by name. Raises `ConfigError` for an unusable one."""
    found = installed(GROUP)
    for name, function in found.items():
        if name in COMPARATORS:
            raise ConfigError(f"plug-in {name!r} of {GROUP}: the name is taken")
        if not callable(function):
            raise ConfigError(f"plug-in {name!r} of {GROUP} is no function")
    return cast(dict[str, Comparator], found)


def check_rule(column: str, rule: ColumnRule) -> None:
    """Raises `DataError` if a rule names functions that don't exist."""
    for name in rule.preprocess:
        if name not in PREPROCESS:
            raise DataError(_unknown(name, column, PREPROCESS))
    for name in rule.metric:
        if name not in COMPARATORS and name not in installed_comparators():
            known = (*COMPARATORS, *installed_comparators())
            raise DataError(_unknown(name, column, known))


def _unknown(name: str, column: str, known: tuple[str, ...]) -> str:
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    return f"unknown function {shown!r} for column {column!r}; known: {', '.join(known)}"
