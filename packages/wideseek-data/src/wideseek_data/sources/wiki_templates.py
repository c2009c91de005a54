"""What common templates of wikis show in a cell."""

import re
from collections.abc import Sequence

_SILENT = re.compile(
    r"ref.*|efn.*|#tag:ref|cn|citation.*|cite .*|fact|note.*|sfn.*|flag ?icon.*|flagdeco|dagger"
    r"|double.dagger|increase|decrease|steady|ntsh|hs|sort ?key|anchor.*|clear|dubious|clarify"
    r"|webarchive|dead link|vertical header|n/a|-|center break",
    re.IGNORECASE,
)
"""Footnotes, flags, arrows and hidden keys: the rest of the cell says all."""
_FIRST = frozenset(
    (
        "nowrap", "nobr", "small", "smaller", "big", "larger", "center", "left", "right", "abbr",
        "flag", "flagcountry", "flagu", "flag+link", "nts", "number table sorting", "val", "won",
        "nom", "yes", "no", "no wrap", "tooltip", "plainlist", "ill", "interlanguage link", "wikt",
    )
)  # fmt: skip
"""Templates that show what they are given first."""
_DEFAULTS = {"yes": "Yes", "no": "No", "won": "Won", "nom": "Nominated"}
_DATES = frozenset(
    (
        "dts",
        "start date",
        "end date",
        "date",
        "release date",
        "film date",
        "birth date",
        "sort date",
    )
)


def template_text(name: str, values: Sequence[str]) -> str | None:
    """What a template shows, by its positional values; None for templates that are not known."""
    name = " ".join(name.replace("_", " ").split()).lower()
    values = [value.strip() for value in values]
    if _SILENT.fullmatch(name):
        return ""
    if name in _FIRST:
        return values[0] if values else _DEFAULTS.get(name)
    if not values:
        return None
    if name in _DATES:
        return _date(values)
    match name, len(values):
        case "sort", 2:
            return values[1]
        case "sortname", count if count >= 2:
            return f"{values[0]} {values[1]}"
        case "lang" | "transl" | "transliteration", count if count >= 2:
            return values[-1] if name != "lang" else values[1]
        case "convert" | "cvt", count if count >= 2 and values[1].isascii():
            return f"{values[0]} {values[1]}"
        case "align", 2:
            return values[1]
        case _:
            return None


def _date(values: Sequence[str]) -> str | None:
    """`1999-05-03` for parts in this order; a date in words as it is."""
    parts = [value for value in values if value]
    if len(parts) == 1 and not parts[0].isdecimal():
        return parts[0]
    if not 1 <= len(parts) <= 3 or not all(part.isdecimal() for part in parts):
        return " ".join(parts) if len(parts) == 3 and parts[2].isdecimal() else None
    if len(parts) == 2:
        return None  # a month and a year, in words only
    return "-".join([parts[0], *(part.zfill(2) for part in parts[1:])])
