"""Questions in English."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from wideseek_data.phrases.columns import column_phrase
from wideseek_data.phrases.nouns import (
    is_are,
    join_words,
    listing,
    named,
    place,
    quoted,
    row_nouns,
)
from wideseek_data.tables.table import ColumnType, Table
from wideseek_data.tasks.recipes import (
    Comparison,
    Condition,
    Measure,
    ShortRecipe,
    ShortShape,
    WideRecipe,
    WideShape,
)

LABELS = {
    Measure.COUNT: "Number of {nouns}",
    Measure.SUM: "Total {of}",
    Measure.MAX: "Highest {of}",
}
"""Names of computed columns."""
_FIRST_DAY = re.compile(r"1 January (\d{4})")


def wide_question(recipe: WideRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    """The words of a wide task."""
    table = tables[recipe.table]
    said = _WIDE[recipe.shape](recipe, tables, rng)
    parts = [said, _format(recipe, rng)]
    if table.totals and recipe.grouping is None:
        parts.append(rng.choice(("Leave out rows of totals.", "Totals are not wanted.")))
    return " ".join(parts)


def _format(recipe: WideRecipe, rng: random.Random) -> str:
    names = listing(recipe.labels)
    return rng.choice(
        (
            f"Answer with one Markdown table with the columns {names}.",
            f"Give the result as a Markdown table with these columns: {names}.",
            f"Present it as a single Markdown table. Columns: {names}.",
            f"The answer should be a Markdown table with exactly these columns: {names}.",
        )
    )


def _asked(recipe: WideRecipe, table: Table) -> str:
    """What is asked for beside the key."""
    return join_words([column_phrase(table, name) for name in recipe.columns[1:]])


def _some(recipe: WideRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    table = tables[recipe.table]
    where, (_, nouns) = place(table, rng), row_nouns(table)
    rule = " and ".join(condition(item, table, rng) for item in recipe.conditions)
    rule = f" {rule}" if rule else ""
    every = "" if rule else "all "
    asked = _asked(recipe, table)
    return rng.choice(
        (
            f"List {every}the {nouns} in {where}{rule}, with the {asked} of each.",
            f"Which {nouns} are in {where}{rule}? Give the {asked} for each of them."
            if not rule
            else f"Which are the {nouns} in {where}{rule}? Give the {asked} for each of them.",
            f"In {where}, find {every}the {nouns}{rule} and their {asked}.",
            f"I need {every}the {nouns} in {where}{rule}, together with the {asked}.",
        )
    )


def _top(recipe: WideRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    table, top = tables[recipe.table], recipe.top
    assert top is not None
    where, (_, nouns) = place(table, rng), row_nouns(table)
    most = (
        f"{superlative(table, top.column, largest=top.largest)} {column_phrase(table, top.column)}"
    )
    asked = _asked(recipe, table)
    return rng.choice(
        (
            f"Which {top.count} {nouns} in {where} have the {most}? Give the {asked} of each.",
            f"List the {top.count} {nouns} with the {most} in {where}, and their {asked}.",
            f"In {where}, find the {top.count} {nouns} with the {most}. State the {asked} too.",
        )
    )


def superlative(table: Table, column: str, *, largest: bool) -> str:
    """`highest` or `lowest`, `latest` or `earliest`."""
    if table.column(column).type is ColumnType.DATE:
        return "latest" if largest else "earliest"
    return "highest" if largest else "lowest"


def _grouped(recipe: WideRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    table, grouping = tables[recipe.table], recipe.grouping
    assert grouping is not None
    where, (_, nouns) = place(table, rng), row_nouns(table)
    by = column_phrase(table, grouping.column)
    if grouping.measure is Measure.COUNT:
        return rng.choice(
            (
                f"How many {nouns} are there for each {by} in {where}?",
                f"For every {by} that occurs in {where}, count the {nouns}.",
            )
        )
    of = column_phrase(table, grouping.of)
    what = "total" if grouping.measure is Measure.SUM else "highest"
    return rng.choice(
        (
            f"What is the {what} {of} of the {nouns} for each {by} in {where}?",
            f"For every {by} that occurs in {where}, find the {what} {of} of its {nouns}.",
        )
    )


def _joined(recipe: WideRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    first, second = tables[recipe.table], tables[recipe.other]
    here, there, (_, nouns) = place(first, rng), place(second, rng), row_nouns(first)
    asked = _asked(recipe, first)
    others = join_words([column_phrase(second, name) for name in recipe.other_columns])
    return rng.choice(
        (
            f"Which {nouns} are both in {here} and in {there}? Give the {asked} from the first "
            f"and the {others} from the second.",
            f"Compare {here} (first) with {there} (second): for all {nouns} that are in both, "
            f"give the {asked} from the first and the {others} from the second.",
        )
    )


_WIDE = {
    WideShape.ALL: _some,
    WideShape.EQUAL: _some,
    WideShape.RANGE: _some,
    WideShape.BOTH: _some,
    WideShape.TOP: _top,
    WideShape.GROUPS: _grouped,
    WideShape.JOIN: _joined,
}


def condition(item: Condition, table: Table, rng: random.Random) -> str:
    """A condition as a clause behind the noun."""
    name = column_phrase(table, item.column)
    is_date = table.column(item.column).type is ColumnType.DATE
    match item.comparison:
        case Comparison.EQUAL:
            return rng.choice(
                (
                    f"whose {name} {is_are(name)} {quoted(item.value)}",
                    f"with the {name} {quoted(item.value)}",
                )
            )
        case Comparison.ABOVE:
            more = "after" if is_date else rng.choice(("above", "more than"))
            return f"whose {name} {is_are(name)} {more} {item.value}"
        case Comparison.BELOW:
            less = "before" if is_date else rng.choice(("below", "less than"))
            return f"whose {name} {is_are(name)} {less} {item.value}"
        case Comparison.BETWEEN:
            year = _FIRST_DAY.fullmatch(item.value)
            if is_date and year and item.upper == f"31 December {year[1]}":
                return f"whose {name} {is_are(name)} in {year[1]}"
            return f"whose {name} {is_are(name)} from {item.value} to {item.upper}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """The parts that short questions are put together from."""

    where: str
    noun: str
    nouns: str
    rule: str
    """The conditions as a clause."""
    name: str
    """The column that is asked for."""
    by: str
    """The column that rows are compared by."""
    most: str
    """The superlative with `by`."""
    more: str
    """The comparative with `by`."""
    keys: tuple[str, ...]


def short_question(recipe: ShortRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    """The words of a short question."""
    table = tables[recipe.table]
    noun, nouns = row_nouns(table)
    by = column_phrase(table, recipe.by) if recipe.by else ""
    words = _Words(
        where=place(table, rng),
        noun=noun,
        nouns=nouns,
        rule=" and ".join(condition(item, table, rng) for item in recipe.conditions),
        name=column_phrase(tables[recipe.other or recipe.table], recipe.column),
        by=by,
        most=f"{superlative(table, recipe.by, largest=recipe.largest)} {by}" if by else "",
        more=_comparative(table, recipe) if by else "",
        keys=tuple(named(table, key) for key in recipe.keys),
    )
    match recipe.shape:
        case ShortShape.LOOKUP:
            return _look_up(words, rng)
        case ShortShape.REVERSE:
            options = _reverse(table, recipe, words)
        case ShortShape.EXTREME if noun == "entry":
            # Nobody knows what an entry is: the question asks for the key by its name.
            options = tuple(form.format(w=words) for form in _SHORT[ShortShape.OF_EXTREME])
        case ShortShape.HOP:
            options = _hop(words, place(tables[recipe.other], rng))
        case _:
            options = tuple(form.format(w=words) for form in _SHORT[recipe.shape])
    return rng.choice(options)


_SHORT = {
    ShortShape.COUNT: (
        "How many {w.nouns} in {w.where} are there {w.rule}?",
        "In {w.where}, how many {w.nouns} are there {w.rule}?",
    ),
    ShortShape.EXTREME: (
        "Which {w.noun} has the {w.most} in {w.where}?",
        "In {w.where}, which {w.noun} has the {w.most}?",
    ),
    ShortShape.OF_EXTREME: (
        "What is the {w.name} of the {w.noun} with the {w.most} in {w.where}?",
        "In {w.where}, what is the {w.name} of the {w.noun} that has the {w.most}?",
    ),
    ShortShape.DIFFERENCE: (
        "In {w.where}, what is the difference in {w.name} between {w.keys[0]} and {w.keys[1]}?",
        "By how much do {w.keys[0]} and {w.keys[1]} differ in {w.name} in {w.where}?",
    ),
    ShortShape.COMPARE: (
        "Which has the {w.more} {w.by} in {w.where}: {w.keys[0]} or {w.keys[1]}?",
        "In {w.where}, does {w.keys[0]} or {w.keys[1]} have the {w.more} {w.by}?",
    ),
    ShortShape.SUM: ("In {w.where}, what is the total {w.name} of the {w.nouns} {w.rule}?",),
    ShortShape.OF_MATCH: (
        "In {w.where}, what is the {w.name} of the {w.noun} {w.rule}?",
        "What is the {w.name} of the {w.noun} in {w.where} {w.rule}?",
    ),
}


def _hop(words: _Words, there: str) -> tuple[str, ...]:
    which = f"with the {words.most}" if words.by else words.rule
    return (
        f"Take the {words.noun} {which} in {words.where}. What is its {words.name} in {there}?",
        f"What {words.name} does {there} give for the {words.noun} {which} in {words.where}?",
    )


def _comparative(table: Table, recipe: ShortRecipe) -> str:
    if table.column(recipe.by).type is ColumnType.DATE:
        return "later" if recipe.largest else "earlier"
    return "higher" if recipe.largest else "lower"


def _reverse(table: Table, recipe: ShortRecipe, words: _Words) -> tuple[str, ...]:
    item = recipe.conditions[0]
    name, value = column_phrase(table, item.column), quoted(item.value)
    rule = f"whose {name} {is_are(name)} {value}"
    if words.noun == "entry":
        return (
            f"In {words.where}, what is the {words.name} of the entry {rule}?",
            f"What is the {words.name} of the entry in {words.where} {rule}?",
        )
    if table.column(item.column).is_ordered:
        return (
            f"For which {words.noun} in {words.where} is the {name} {value}?",
            f"In {words.where}, which is the {words.noun} whose {name} {is_are(name)} {value}?",
        )
    return (
        f"Which {words.noun} in {words.where} has the {name} {value}?",
        f"In {words.where}, which {words.noun} has {value} as its {name}?",
    )


def _look_up(words: _Words, rng: random.Random) -> str:
    has_noun = words.noun == "entry" or words.keys[0].startswith("the ")
    noun = "" if has_noun else f"the {words.noun} "
    key, name, where = words.keys[0], words.name, words.where
    return rng.choice(
        (
            f"What is the {name} of {noun}{key} in {where}?",
            f"In {where}, what is the {name} of {noun}{key}?",
            f"Which {name} does {where} give for {key}?",
        )
    )


def computed_label(recipe: WideRecipe, tables: Mapping[str, Table]) -> str:
    """The name of the column that a grouping computes."""
    grouping = recipe.grouping
    assert grouping is not None
    _, nouns = row_nouns(tables[recipe.table])
    return LABELS[grouping.measure].format(
        nouns=nouns, of=column_phrase(tables[recipe.table], grouping.of) if grouping.of else ""
    )
