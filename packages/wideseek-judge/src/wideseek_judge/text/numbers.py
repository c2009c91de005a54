"""Numbers as people write them in cells: separators, currencies, percent, units, scales, powers."""

import re
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

from wideseek_judge.text.numerals import NUMERALS, chinese_number
from wideseek_judge.text.units import ALL_SCALES, CURRENCY_PATTERN, UNITS, currency, scale_and_unit

MAX_DIGITS = 60
"""A longer row of digits is compared as text."""
_EXACT = Context(prec=MAX_DIGITS + 20)

_GROUPED = (
    r"\d{1,3}(?:,\d{3})+(?!\d)",  # 1,234,567
    r"\d{1,3}(?: \d{3})+(?!\d)",
    r"\d{1,3}(?:['’_]\d{3})+(?!\d)",  # Switzerland, programs
    r"\d{1,2}(?:,\d{2})+,\d{3}(?!\d)",  # India
    r"\d{1,4}(?:,\d{4}){2,}(?!\d)",  # groups of ten thousand
)
_COMMA_DECIMAL = (
    r"\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)",  # 1.234,56
    r"\d{1,3}(?: \d{3})+,\d{1,2}(?!\d)",
    r"\d{1,3}(?:\.\d{3}){2,}(?![\d.])",  # 1.234.567
)
_DIGITS = rf"(?:{'|'.join(_COMMA_DECIMAL)}|(?:{'|'.join(_GROUPED)}|\d+)(?:\.\d+)?|\.\d+)"
_POWER = r"(?:e[+-]?\d{1,3}| ?[x×*·⋅] ?10\^[+-]?\d{1,3})"
_ABOUT = r"(?:~|≈|[约約]|大约|大約|(?:about|around|approx\.?|approximately|circa|ca\.|c\.) ?)?"
_AMOUNT = (
    r"(?:(?P<ten>10\^[+-]?\d{1,3})|(?P<whole>\d{1,6}) (?P<part>\d{1,2}/\d{1,3})"
    rf"|(?P<digits>{_DIGITS})(?P<power>{_POWER})?)"
)
_WHOLE = re.compile(
    rf"{_ABOUT} ?(?P<sign>[+-]?) ?(?P<money>{CURRENCY_PATTERN})? ?"
    rf"(?:(?P<comma>\d{{1,9}},\d{{1,2}}(?![\d,]))|{_AMOUNT})"
    r" ?(?P<rest>[^\d\s^]{0,14}(?: [^\d\s]{1,10}){0,2}\d?)",
    re.IGNORECASE,
)
_FIRST = re.compile(rf"(?P<sign>[+-]?){_AMOUNT}(?P<percent>%?)", re.IGNORECASE)
_SCALE_BEHIND = re.compile(
    rf" ?({'|'.join(sorted(ALL_SCALES, key=len, reverse=True))})(?![A-Za-zа-яё])", re.IGNORECASE
)
_LEADING_ZERO = re.compile(r"0\d")
_CHINESE = re.compile(
    rf"[约約]?(?P<percent>百分之)?(?P<digits>[{NUMERALS}点點]+)(?P<unit>\D{{0,6}})"
)
_CHINESE_SUM = re.compile(
    r"[约約]?(?:(?P<trillions>\d{1,4}(?:\.\d+)?)(?:万亿|萬億|兆))?"
    r"(?:(?P<hundred_millions>\d{1,5}(?:\.\d+)?)[亿億])?"
    r"(?:(?P<ten_millions>\d)千[万萬])?(?:(?P<ten_thousands>\d{1,4}(?:\.\d+)?)[万萬])?"
    r"(?:(?P<ones>\d{1,4}))?(?P<unit>[^\d\s]{0,6})"
)
_CHINESE_POWERS = {
    "trillions": 12, "hundred_millions": 8, "ten_millions": 7, "ten_thousands": 4, "ones": 0,
}  # fmt: skip
_SIGNS = str.maketrans({"−": "-", "٬": ",", "٫": ".", "’": "'", "ʼ": "'"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number and the unit that follows it, if any.

    Example: `parse_number("1,260 km2") == Number(exact=Decimal(1260), unit="km2")`
    """

    exact: Decimal
    unit: str = ""
    """As it is written, without blanks."""
    currency: str = ""
    """The unit that a sign in front means."""

    @property
    def value(self) -> float:
        """The number as a float."""
        return float(self.exact)

    @property
    def canonical_unit(self) -> str:
        """One name for units that are the same."""
        return UNITS.get(self.unit, self.unit) or self.currency


@lru_cache(maxsize=65536)
def parse_number(text: str) -> Number | None:
    """The number that `text` is as a whole; None for anything else.

    Integers with leading zeros are codes, not numbers. `text` is plain: see `canonical.plain`.
    """
    text = text.strip().translate(_SIGNS)
    match = _WHOLE.fullmatch(text)
    if match is None:
        return _in_numerals(text) or _chinese_sum(text)
    if match["comma"]:
        return _with_comma(text, match)
    exact = _value(match)
    found = scale_and_unit(match["rest"], money=match["money"] is not None)
    if exact is None or found is None or _LEADING_ZERO.match(match["digits"] or ""):
        return None
    power, unit = found
    money = currency(match["money"]) if match["money"] else ""
    return Number(exact=_EXACT.scaleb(exact, power), unit=unit, currency=money)


def _with_comma(text: str, match: re.Match[str]) -> Number | None:
    """`12,5 %`: a comma before decimals, if a unit shows that it is one number and not two."""
    if not (match["rest"] or match["money"]):
        return None
    return parse_number(text.replace(",", ".", 1))


def _value(match: re.Match[str]) -> Decimal | None:
    """The signed number of a match, without its unit; None if it is too long or impossible."""
    try:
        return _EXACT.multiply(Decimal(f"{match['sign']}1"), _unsigned(match))
    except (InvalidOperation, ZeroDivisionError, ValueError):
        return None


def _unsigned(match: re.Match[str]) -> Decimal:
    if match["ten"]:
        return Decimal(f"1e{match['ten'][3:]}")
    if match["part"]:
        top, bottom = match["part"].split("/")
        return _EXACT.add(Decimal(match["whole"]), _EXACT.divide(Decimal(top), Decimal(bottom)))
    digits = _plain_digits(match["digits"])
    if len(digits) > MAX_DIGITS:
        raise ValueError(digits)
    power = re.sub(r"^.*10\^|^e", "", match["power"] or "0", flags=re.IGNORECASE)
    return Decimal(f"{digits}e{power}")


def _plain_digits(digits: str) -> str:
    """Digits without separators, with a point for decimals."""
    if any(re.fullmatch(form, digits) for form in _COMMA_DECIMAL):
        return re.sub(r"[. ]", "", digits).replace(",", ".")
    return re.sub(r"[, '_]", "", digits)


def _in_numerals(text: str) -> Number | None:
    match = _CHINESE.fullmatch(text)
    exact = chinese_number(match["digits"]) if match else None
    if match is None or exact is None:
        return None
    unit = "%" if match["percent"] else match["unit"].casefold()
    return Number(exact=exact, unit=unit) if not unit or unit in UNITS else None


def _chinese_sum(text: str) -> Number | None:
    """Digits with several scales, `12亿3000万元`: the parts are added up."""
    match = _CHINESE_SUM.fullmatch(text.replace(" ", ""))
    if match is None:
        return None
    parts = [(match[name], power) for name, power in _CHINESE_POWERS.items() if match[name]]
    unit = match["unit"].casefold()
    if len(parts) < 2 or (unit and unit not in UNITS):
        return None
    exact = sum((_EXACT.scaleb(Decimal(digits), power) for digits, power in parts), Decimal())
    return Number(exact=exact, unit=unit)


@dataclass(frozen=True, slots=True)
class FirstNumber:
    """The first number inside a text."""

    exact: Decimal
    percent: bool
    plain: str
    """As it is written, without separators: `1234.50%`."""


def find_number(text: str) -> FirstNumber | None:
    """The first number inside a plain text; None without one, and for powers of unknown meaning.

    `5^2` may be a square or a footnote.
    """
    text = text.translate(_SIGNS)
    match = _FIRST.search(text)
    if match is None or text[match.end() : match.end() + 1] == "^":
        return None
    exact = _value(match)
    if exact is None:
        return None
    scale = None if match["percent"] else _SCALE_BEHIND.match(text, match.end())
    if scale is not None:
        exact = _EXACT.scaleb(exact, ALL_SCALES[scale[1].casefold()])
    is_simple = match["digits"] and not match["power"] and scale is None
    written = _plain_digits(match["digits"]) if is_simple else decimal_text(_EXACT.abs(exact))
    percent = match["percent"]
    return FirstNumber(exact, bool(percent), f"{match['sign']}{written}{percent}")


def first_number(text: str) -> float | None:
    """The first number inside a text, percent signs divided by 100; None without any."""
    found = find_number(text)
    if found is None:
        return None
    return float(_EXACT.scaleb(found.exact, -2) if found.percent else found.exact)


def decimal_text(value: Decimal) -> str:
    """One spelling for equal numbers: integers in full, fractions to twelve digits."""
    if value == value.to_integral_value() and value.adjusted() < MAX_DIGITS:
        return f"{value.quantize(Decimal(1), context=_EXACT):f}".replace("-0", "0", value == 0)
    return f"{value.normalize(_EXACT):.12g}"
