"""One spelling for values that mean the same: Unicode, case, punctuation, numbers, dates."""

import html
import re
import unicodedata
from functools import lru_cache

from wideseek_judge.text.dates import parse_date
from wideseek_judge.text.numbers import Number, decimal_text, parse_number
from wideseek_judge.text.numerals import NUMERALS
from wideseek_judge.text.units import CERTAIN_UNITS

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|i|u|em|strong|sup|sub|span|small|a)(?:\s[^<>]{0,200})?>", re.IGNORECASE)
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,500}\)")
_FOOTNOTE = re.compile(
    r"\[(?:\d{1,3}|[a-z]{1,2}|(?:note|nb|n|fn|ref|注|註)\.? ?\d{1,2}|citation needed)\]",
    re.IGNORECASE,
)
_FOOTNOTE_MARKS = "*†‡§¶ "
"""Behind a number or a date they are no part of it."""

_RAISED_TAG = re.compile(r"(?<=\d)\s*<sup>\s*([+−-]?\d{1,4})\s*</sup>", re.IGNORECASE)
_RAISED_MARK = re.compile(r"(?<=\d)\s*<sup>\s*[a-z*†‡§]\s*</sup>", re.IGNORECASE)
_LOWERED_TAG = re.compile(r"(?<=\d)<sub>\s*(\d{1,4})\s*</sub>", re.IGNORECASE)
_RAISED = re.compile("(?<=[0-9０-９)])([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})")
_LOWERED = re.compile("(?<=[0-9０-９])([₀₁₂₃₄₅₆₇₈₉]{1,4})")
_NOTE_LETTER = re.compile("(?<=[0-9０-９])[ᵃᵇᶜᵈᵉᶠᵍ](?![ʰ-ʸᵃ-ᶻ])")
_NOTE_NUMBER = re.compile(r"(?<=[^\W\d_]{4})[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,2}(?!\w)")
"""Raised digits behind a word of some length; behind short ones they belong to a unit: `km²`."""
_FRACTION = re.compile("([0-9０-９]?) ?([¼½¾⅐-⅞↉])")
_ENCLOSED = "①-⒛⓪-⓿❶-➓㉈-㉟㊱-㊿"
_BESIDE_ENCLOSED = re.compile(f"(?<=[0-9０-９])(?=[{_ENCLOSED}])|(?<=[{_ENCLOSED}])(?=[0-9０-９])")
_CARET = re.compile(
    r"(?<=\d) ?(?:\^|\*\*) ?(?:\{([+-]?\d{1,4})\}|\(([+-]?\d{1,4})\)|([+-]?\d{1,4})\^?)"
)
_LATEX = {"\\times": "×", "\\cdot": "·", "\\%": "%", "\\$": "$", "\\,": "", "\\ ": " "}
_MAYBE_NUMBER = re.compile(rf"\d|[{NUMERALS}]")
_MAX_NUMBER = 80
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|`|~~)(?=\S)([^*`~]{1,500}?)(?<=\S)\1(?!\w)")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)(?:(?!\^)[\W_])+(?=\d)")
_FINAL_MINUS = re.compile(r"(?<=[a-z])-$")
_SYMBOLS = frozenset("#+%°$€£¥<>=^|~")
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
        text = _without_tags(_BREAK.sub(" ", html.unescape(text)))
    if "[" in text:
        text = _FOOTNOTE.sub("", _LINK.sub(r"\1", text))
    if "\\" in text or text.startswith("$"):
        text = _without_latex(text)
    if not text.isascii():
        text = _INVISIBLE.sub("", _compatible(text))
    if "^" in text or "**" in text:
        text = _CARET.sub(_power, text)
    if "*" in text or "_" in text or "`" in text or "~" in text:
        text = _EMPHASIS.sub(r"\2", text)
    return " ".join(text.split())


def _without_tags(text: str) -> str:
    """Raised and lowered digits behind digits stay apart from them; other tags go."""
    text = _RAISED_TAG.sub(r"^\1", _RAISED_MARK.sub("", text))
    return _TAG.sub("", _LOWERED_TAG.sub(r"_\1", text))


def _compatible(text: str) -> str:
    """NFKC, but digits that are raised, lowered, fractions or enclosed don't join others."""
    text = _NOTE_NUMBER.sub("", _NOTE_LETTER.sub("", text))
    text = _RAISED.sub(r"^\1", text)
    text = _LOWERED.sub(r"_\1", text)
    text = _FRACTION.sub(lambda match: f"{match[1]} {match[2]}" if match[1] else match[2], text)
    text = _BESIDE_ENCLOSED.sub(" ", text)
    return unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("\u2215", "/")


def _power(match: re.Match[str]) -> str:
    return f"^{match[1] or match[2] or match[3]}"


def _without_latex(text: str) -> str:
    if text.startswith("$") and text.endswith("$") and len(text) > 2:
        text = text[1:-1]
    for command, plain_text in _LATEX.items():
        text = text.replace(command, plain_text)
    return text


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
        kept = "".join(c for c in text if c.isalnum() or c == "\n" or c in _SYMBOLS or _is_mark(c))
    return kept.replace("\n", "-") or text


def _is_mark(character: str) -> bool:
    return character > "\x7f" and unicodedata.category(character)[0] in "MS"


def _without_accents(text: str) -> str:
    """Drops accents of Latin letters only: elsewhere they distinguish letters."""
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
    bare = tidy.strip(_QUOTES).rstrip(_FOOTNOTE_MARKS)
    if len(bare) <= _MAX_NUMBER and _MAYBE_NUMBER.search(bare):
        number = parse_number(bare) or _lone_fraction(text, bare)
        if number is not None:
            return f"n:{decimal_text(number.exact)} {number.canonical_unit}".rstrip()
        date = parse_date(bare)
        if date is not None:
            return f"d:{date}"
    return f"t:{fold(text)}"


def _lone_fraction(text: str, bare: str) -> Number | None:
    """`½` alone. Written out, `1/2` may as well be a result or a day."""
    return parse_number(f"0 {bare}") if _FRACTION.search(text) else None


def same(first: str, second: str) -> bool:
    """Whether two values surely mean the same. A unit may be left out on one side."""
    if first == second:
        return True
    form, other_form = canonical(first), canonical(second)
    if form == other_form:
        return True
    if form[:2] != "n:" or other_form[:2] != "n:":
        return plain(first) == plain(second)
    value, _, unit = form[2:].partition(" ")
    other_value, _, other_unit = other_form[2:].partition(" ")
    return value == other_value and not (unit and other_unit)


def surely_differ(answer: str, reference: str) -> bool:
    """Whether two values surely mean something else: plain numbers, sums of money, full dates.

    So does an answer without value. A reference without value proves nothing: an answer may say so
    in words. Numbers with other units are left open, as they are often rounded.
    """
    form, gold_form = canonical(answer), canonical(reference)
    if form == gold_form or not gold_form:
        return False
    if not form:
        return True
    if form[:2] == gold_form[:2] == "n:":
        unit, gold_unit = form.partition(" ")[2], gold_form.partition(" ")[2]
        return unit == gold_unit and unit in CERTAIN_UNITS
    return form[:2] == gold_form[:2] == "d:" and len(form) == len(gold_form)
