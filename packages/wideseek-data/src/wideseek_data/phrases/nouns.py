"""What questions call tables, their rows and their columns in English."""

import random
import re
from collections.abc import Sequence

from wideseek_data.tables.table import Table
from wideseek_data.tables.values import read_amount, read_date

_WORD = re.compile(r"[A-Z][a-z]{2,13}|[a-z]{3,14}")
_NO_ROW_NOUNS = frozenset(
    "name title date year rank type place pos position number result score time event "
    "north south east west home away notes month day venue group category english "
    "latin represented represent opposition series sum device hand margin term "
    "gold silver bronze released founded established built opened completed elected appointed "
    "retired".split()
)
_PEOPLE_PLURALS = {"country": "countries", "city": "cities", "party": "parties", "person": "people"}
_GAMES = frozenset(("opponent", "opponents", "opponent#", "opponent team", "visitor", "home team"))
_BY_SECTION = (
    (re.compile(r"track ?list", re.IGNORECASE), ("track", "tracks")),
    (re.compile(r"episode", re.IGNORECASE), ("episode", "episodes")),
    (re.compile(r"filmography|\bfilms?\b", re.IGNORECASE), ("title", "titles")),
    (re.compile(r"singles", re.IGNORECASE), ("single", "singles")),
    (re.compile(r"albums?", re.IGNORECASE), ("album", "albums")),
    (re.compile(r"buildings", re.IGNORECASE), ("building", "buildings")),
)
_DATED = re.compile(r"date|year|season|month|day", re.IGNORECASE)


def row_nouns(table: Table) -> tuple[str, str]:
    """What one row is called, and several: `driver` and `drivers`, else `entry` and `entries`."""
    key = table.key.strip()
    lowered = key.lower()
    if _DATED.search(lowered):
        has_games = any(name.lower() in _GAMES for name in table.names)
        return ("game", "games") if has_games else ("entry", "entries")
    if lowered in ("title", "song", "single", "album", "film", "english title", "name"):
        for form, nouns in _BY_SECTION:
            if form.search(table.section) and (lowered != "name" or nouns[0] == "building"):
                return nouns
    if _WORD.fullmatch(key) and lowered not in _NO_ROW_NOUNS and not lowered.endswith("s"):
        return lowered, plural(lowered)
    return "entry", "entries"


def plural(noun: str) -> str:
    """Several of a noun."""
    if noun in _PEOPLE_PLURALS:
        return _PEOPLE_PLURALS[noun]
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "ch", "sh")) else "s")


def place(table: Table, rng: random.Random) -> str:
    """Where a question says that the table is."""
    title = f'"{_inside_quotes(table.title)}"'
    if not table.section:
        return rng.choice((title, f"the table of {title}", f"the page {title}"))
    section = table.section.replace("/", " / ")
    return rng.choice(
        (
            f"{title} ({section})",
            f'the "{_inside_quotes(section)}" section of {title}',
            f'{title}, section "{_inside_quotes(section)}"',
        )
    )


def _inside_quotes(text: str) -> str:
    return text.replace('"', "'")


def quoted(value: str) -> str:
    """A value as a question cites it; numbers and dates need no quotation marks."""
    if read_amount(value) is not None or read_date(value) is not None:
        return value
    return value if value[:1] in "\"'“" else f'"{value}"'


def lower(name: str) -> str:
    """A column's name inside a sentence; abbreviations and names keep their capitals."""
    words = name.split()
    return " ".join(
        word.lower() if re.fullmatch(r"[A-Z][a-z'’]+", word) else word for word in words
    )


def named(table: Table, key: str) -> str:
    """A row as a question names it: `the game of 3 May 2009`, `"Triton"`."""
    noun, _ = row_nouns(table)
    if table.column(table.key).is_ordered or _DATED.search(table.key):
        return f"the {noun} {'for' if noun == 'entry' else 'of'} {quoted(key)}"
    return quoted(key)


def is_are(name: str) -> str:
    """The verb that goes with a column's phrase."""
    last = name.split()[-1].strip('")')
    many = last.endswith("s") and not last.endswith(("ss", "us", "is")) and " of " not in name
    return "are" if many and last not in ("series", "gross") else "is"


def join_words(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def listing(names: Sequence[str]) -> str:
    """Exact column names, one after another."""
    mark = "; " if any("," in name for name in names) else ", "
    return mark.join(names)
