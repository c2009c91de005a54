"""Numbers in Chinese numerals: `三百五十`, `二〇〇三`, `三点五亿`."""

import math
import re
from decimal import Decimal

_DIGITS = {
    character: value
    for value, characters in enumerate(
        ("零〇○", "一壹", "二贰两兩", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
    )
    for character in characters
}
_PLACES = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_GROUPS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
NUMERALS = "".join([*_DIGITS, *_PLACES, *_GROUPS])
_POSITIONAL = re.compile(f"[{''.join(_DIGITS)}]+")
_DECIMAL = re.compile(
    rf"(?P<whole>[^点點]+)[点點](?P<fraction>[{''.join(_DIGITS)}]+)(?P<group>[{''.join(_GROUPS)}]{{0,2}})"
)
MAX_CHARACTERS = 30


def chinese_number(text: str) -> Decimal | None:
    """The number that a text in Chinese numerals is as a whole; None for anything else.

    Two digits alone (`三五`) may mean "three or five" and are no number.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None:
        value = _whole(text)
        return None if value is None else Decimal(value)
    value = _whole(decimal["whole"])
    if value is None:
        return None
    digits = "".join(str(_DIGITS[character]) for character in decimal["fraction"])
    return Decimal(f"{value}.{digits}") * _product(decimal["group"])


def _product(group: str) -> int:
    return math.prod(_GROUPS[character] for character in group)


def _whole(text: str) -> int | None:
    if _POSITIONAL.fullmatch(text):
        if len(text) == 2 and "〇" not in text and "零" not in text:
            return None
        return int("".join(str(_DIGITS[character]) for character in text))
    return _grouped(text) if text[:1] in _DIGITS or text[:1] in ("十", "拾") else None


def _grouped(text: str) -> int | None:
    """`一亿二千三百万零五`: sections below 10,000, each with its group behind it."""
    total = 0
    smallest = 10**12
    for section, group in re.findall(r"([^万萬亿億]+)([万萬亿億]*)", text):
        value = _section(section)
        factor = _product(group)
        if value is None or factor >= smallest:
            return None
        total += value * factor
        smallest = factor
    return total


def _section(text: str) -> int | None:
    """A number below 10,000: digits with falling places; a last digit alone counts one place."""
    total, digit, smallest = 0, None, 10**4
    for character in text:
        if character in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[character]
            continue
        place = _PLACES.get(character)
        if place is None or place >= smallest or digit == 0:
            return None
        total += (1 if digit is None else digit) * place
        digit, smallest = None, place
    return total + (digit or 0)
