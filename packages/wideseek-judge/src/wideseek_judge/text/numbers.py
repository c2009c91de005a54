"""Numbers as people write them in cells: separators, currency signs, percent, units, scales."""

import re
from dataclasses import dataclass
from functools import lru_cache

_SCALES = {
    "thousand": 1e3,
    "million": 1e6,
    "mn": 1e6,
    "billion": 1e9,
    "bn": 1e9,
    "trillion": 1e12,
    "万": 1e4,
    "亿": 1e8,
}
_UNIT_NAMES = """
    % km m cm mm nm km2 m2 km3 m3 ha kg g mg t tonnes lb lbs oz mi miles ft in sqmi acres s sec
    min h hr hrs hours minutes seconds days years year yr yrs months °c °f °k k pa hpa kpa gpa ev kj
    j w kw mw gw hz khz mhz ghz v ly pc kpc mpc au mag deg ° km/h m/s mph l ml people inhabitants
    residents meters metres kilometers kilometres feet usd eur gbp cny rmb jpy dollars euros yuan
    元 人 年 米 公里 平方公里 岁 个 次 points pts goals bn m³ u g/cm3 kg/m3 kg/l j/mol kj/mol
    st nd rd th arcmin arcsec people/km2 /km2
"""
_UNITS = frozenset(_UNIT_NAMES.split())
_ORDINALS = frozenset(("st", "nd", "rd", "th"))
_CURRENCIES = r"(?:US\$|[$€£¥₹]|USD|EUR|GBP|CNY|RMB|JPY)"
_DIGITS = r"(?:\d{1,3}(?:[, ]\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_WHOLE = re.compile(
    rf"(?:~|≈|c\. ?|ca\. ?)?(?P<sign>[+-]?) ?(?P<money>{_CURRENCIES})? ?(?P<digits>{_DIGITS})"
    rf"(?P<exponent>e[+-]?\d{{1,3}})? ?(?P<rest>[^\d\s]{{0,14}}(?: [^\d\s]{{1,10}}){{0,2}}\d?)",
    re.IGNORECASE,
)
_FIRST = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?|[+-]?\.\d+%?")
_LEADING_ZERO = re.compile(r"0\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number and the unit that follows it, if any.

    Example: `parse_number("1,260 km2") == Number(value=1260.0, unit="km2")`
    """

    value: float
    unit: str = ""


@lru_cache(maxsize=65536)
def parse_number(text: str) -> Number | None:
    """The number that `text` is as a whole; None for anything else.

    Integers with leading zeros are codes, not numbers. `text` has its full-width forms folded.
    """
    match = _WHOLE.fullmatch(text.strip().replace("−", "-"))
    if match is None or _LEADING_ZERO.match(match["digits"]):
        return None
    unit = _unit(match["rest"])
    if unit is None:
        return None
    scale, name = unit
    digits = match["digits"].replace(",", "").replace(" ", "")
    # Scaling after parsing would turn "1.1 million" into 1100000.0000000001.
    value = float(f"{match['sign']}{digits}{match['exponent'] or ''}")
    value = float(f"{value * scale:.15g}")
    return Number(value=value, unit=name)


def _unit(rest: str) -> tuple[float, str] | None:
    """Scale and unit named behind a number; None if the words are neither."""
    words = rest.casefold().replace(".", "").split()
    scale = 1.0
    if words and words[0] in _SCALES:
        scale = _SCALES[words.pop(0)]
    name = "".join(words)
    if name in _ORDINALS:
        return scale, ""
    return (scale, name) if not name or name in _UNITS else None


def first_number(text: str) -> float | None:
    """The first number inside a text, percent signs divided by 100; None without any."""
    match = _FIRST.search(text.replace("−", "-"))
    if match is None:
        return None
    found = match.group().replace(",", "")
    return float(found[:-1]) / 100 if found.endswith("%") else float(found)
