"""What English questions call columns.

Headers are short and often no nouns: `Directed by`, `Founded`, `Bishops`, `W`. Those that read
badly inside a sentence get a phrase, or are quoted as they are.
"""

import re

from wideseek_data.phrases.nouns import lower, row_nouns
from wideseek_data.tables.table import Column, ColumnType, Table
from wideseek_data.tables.values import date_precision

_MEDALS = frozenset(("gold", "silver", "bronze"))
_SPELLED = {
    "pos": "position", "no": "number", "#": "number", "n°": "number", "att": "attendance",
    "pts": "points", "agg": "aggregate score", "avg": "average",
    "directed by": "director", "written by": "writer", "produced by": "producer",
    "designed by": "designer", "built by": "builder", "won by": "winner", "hosted by": "host",
    "presented by": "presenter", "performed by": "performer", "composed by": "composer",
    "appointed by": "appointer", "nominated by": "nominator",
}  # fmt: skip
_VERBS = frozenset(
    "founded established launched built opened completed released introduced formed joined born "
    "died elected qualified arrested premiered published eliminated retired signed created".split()
)
_NO_NOUNS = frozenset(
    "from until till to in of for by at on as home away north south east west won lost drawn tied "
    "played finished scored outright shared high low other draw tie gold silver bronze total "
    "japanese chinese mongolian russian german french english dutch arabic korean latin afrikaans "
    "hanzi males females qual cp fp jury televote swimsuit interview cup league series round "
    "islam christianity judaism buddhism".split()
)
_MEASURES = frozenset(
    "rank number attendance average position population age area enrollment place percentage "
    "gross par pick margin gap power revenue profit density altitude height tonnage distance "
    "magnitude length rate capacity turnout visitation output weight speed elevation time year "
    "date score price money income cost value depth width size volume share ranking frequency "
    "duration grid lane round week game match event stage heat day selection issue page disc "
    "seed".split()
)
"""Words that can be high or low by themselves."""
_COUNTED = re.compile(r"^(?:number|no\.?|total|#)\b", re.IGNORECASE)
_PEOPLES = re.compile(r"[a-z]{3,}(?:ian|ese|ish)")
_BRACKETS = re.compile(r"\s*[(\[{].*")


def column_phrase(table: Table, name: str) -> str:
    """What a question calls a column: `position` for `Pos`, `number of gold medals` for `Gold`."""
    column, plain = table.column(name), lower(name).removeprefix("the ")
    bare = plain.strip(":. ").lower()
    if _is_medal_count(table, column, bare):
        return "total number of medals" if bare == "total" else f"number of {bare} medals"
    if bare == row_nouns(table)[0] and name != table.key:
        return f"{bare} number" if column.is_ordered else f"name of the {bare}"
    if bare in _SPELLED:
        return _SPELLED[bare]
    if bare in _VERBS and column.type is ColumnType.DATE:
        return f"{date_precision(table.cells(name)) or 'date'} {bare}".replace("day ", "date ")
    words = _BRACKETS.sub("", bare).split()
    last = words[-1].strip(".:") if words else ""
    if words[:1] in (["year"], ["date"]):
        return plain
    if last in _NO_NOUNS | _VERBS or not last.isalpha() or _PEOPLES.fullmatch(last):
        return _quoted(column)
    if column.type is ColumnType.NUMBER:
        return _amount(table, column, plain, last)
    return plain


def _is_medal_count(table: Table, column: Column, bare: str) -> bool:
    names = {other.strip(":").lower() for other in table.names}
    return names >= _MEDALS and column.is_ordered and (bare in _MEDALS or bare == "total")


def _amount(table: Table, column: Column, plain: str, last: str) -> str:
    """A number's name: `number of laps` for `Laps`, `"CP" value` for what says nothing."""
    if _COUNTED.match(plain) or last in _MEASURES or column.unit:
        return plain
    sizes = [table.size(row, column.name) for row in range(len(table.rows))]
    are_counts = all(size is None or size.is_integer() for size in sizes)
    if last.endswith("s") and not last.endswith("ss") and are_counts:
        return f"number of {plain}"
    return _quoted(column)


def _quoted(column: Column) -> str:
    name = column.name.replace('"', "'").strip(":")
    return f'"{name}" value' if column.is_ordered else f'"{name}" entry'
