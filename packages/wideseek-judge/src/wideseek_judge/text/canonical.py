"""One spelling for values that mean the same: Unicode, case, punctuation, numbers, dates."""

import html
import re
import unicodedata
from functools import lru_cache

from wideseek_judge.text.dates import parse_date
from wideseek_judge.text.numbers import parse_number

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|i|u|em|strong|sup|sub|span|small|a)(?:\s[^<>]{0,200})?>", re.IGNORECASE)
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,500}\)")
_FOOTNOTE = re.compile(r"\[(?:\d{1,3}|[a-z]|note \d{1,2})\]")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|`|~~)(?=\S)([^*`~]{1,500}?)(?<=\S)\1(?!\w)")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\W_]+(?=\d)")
_FINAL_MINUS = re.compile(r"(?<=[a-z])-$")
_KEPT = frozenset("#+%°$€£¥<>=^|~")
_DROPPED_ASCII = re.compile(r"[^a-z0-9\n#+%$<>=^|~]+")
_EMPTY = frozenset(
    (
        "",
        "-",
        "--",
        "---",
        "–",
        "—",
        "n/a",
        "na",
        "n.a.",
        "nan",
        "none",
        "null",
        "nil",
        "无",
        "/",
        "?",
    )
)
_DASHES = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-"})
_MAX_MARKUP = 4000
"""Longer texts are no cells; looking for markup in them would take too long."""
_QUOTES = "\"'“”‘’«»"


def plain(text: str) -> str:
    """A cell without markup, footnote marks, invisible and full-width characters."""
    if text.isascii() and text.isalnum():
        return text
    if len(text) > _MAX_MARKUP:
        return " ".join(unicodedata.normalize("NFKC", text).split())
    if "<" in text or "&" in text:
        text = _TAG.sub("", _BREAK.sub(" ", html.unescape(text)))
    if "[" in text:
        text = _FOOTNOTE.sub("", _LINK.sub(r"\1", text))
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    if "*" in text or "_" in text or "`" in text or "~" in text:
        text = _EMPHASIS.sub(r"\2", text)
    return " ".join(text.split())


@lru_cache(maxsize=65536)
def is_empty(text: str) -> bool:
    """True for the ways of saying that there is no value: `-`, `(N/A)`, nothing."""
    return _says_nothing(plain(text))


def _says_nothing(tidy: str) -> bool:
    word = tidy.casefold()
    return word in _EMPTY or (word[:1] == "(" and word[-1:] == ")" and word[1:-1] in _EMPTY)


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """Letters, digits and meaningful symbols of a text, lower case, without accents or spaces.

    Separators stay between digits, so that `3-2` is not `32`. A text of punctuation alone is kept.
    """
    text = plain(text).casefold().translate(_DASHES).replace("&", " and ")
    text = _THOUSANDS.sub("", text)
    if not text.isascii():
        text = _without_accents(text)
    text = _FINAL_MINUS.sub("minus", text)
    text = _BETWEEN_DIGITS.sub("\n", text)
    if text.isascii():
        kept = _DROPPED_ASCII.sub("", text)
    else:
        kept = "".join(c for c in text if c.isalnum() or c == "\n" or c in _KEPT or _is_mark(c))
    return kept.replace("\n", "-") or text


def _is_mark(character: str) -> bool:
    return character > "\x7f" and unicodedata.category(character)[0] in "MS"


def _without_accents(text: str) -> str:
    """Drops accents of Latin letters only: elsewhere they tell letters apart."""
    kept: list[str] = []
    latin = False
    for character in unicodedata.normalize("NFD", text):
        if "\u0300" <= character <= "\u036f":
            if latin:
                continue
        else:
            latin = character.isascii()
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


@lru_cache(maxsize=65536)
def canonical(text: str) -> str:
    """A spelling that two values share if they surely mean the same.

    Example: `canonical("**5 Jan. 2003**") == canonical("2003-01-05") == "d:2003-01-05"`
    """
    tidy = plain(text)
    if _says_nothing(tidy):
        return ""
    if tidy[-1].isdigit() or tidy[0].isdigit() or tidy[0] in "+-−.$€£¥~≈UR":
        bare = tidy.strip(_QUOTES)
        number = parse_number(bare)
        if number is not None:
            return f"n:{number.value:.12g} {number.unit}".rstrip()
    date = parse_date(tidy.strip(_QUOTES))
    if date is not None:
        return f"d:{date}"
    return f"t:{fold(text)}"


def same(first: str, second: str) -> bool:
    """Whether two values surely mean the same. A unit may be left out on one side."""
    if first == second:
        return True
    one, other = canonical(first), canonical(second)
    if one == other:
        return True
    if one[:2] != "n:" or other[:2] != "n:":
        return False
    value, _, unit = one[2:].partition(" ")
    other_value, _, other_unit = other[2:].partition(" ")
    return value == other_value and not (unit and other_unit)


def surely_differ(answer: str, reference: str) -> bool:
    """Whether two values surely mean something else: plain numbers, full dates, no answer.

    A reference without value proves nothing: an answer may say so in words.
    """
    one, other = canonical(answer), canonical(reference)
    if one == other or not other:
        return False
    if not one:
        return True
    if one[:2] == other[:2] == "n:":
        return " " not in one and " " not in other
    return one[:2] == other[:2] == "d:" and len(one) == len(other)
