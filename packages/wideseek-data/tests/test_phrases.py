"""The words of questions: whole sentences, names of rows and columns, both languages."""

import random
from collections.abc import Mapping

import pytest

from wideseek_core import ConfigError
from wideseek_data.phrases import GRAMMARS, language
from wideseek_data.phrases.columns import column_phrase
from wideseek_data.phrases.nouns import is_are, lower, named, place, plural, quoted, row_nouns
from wideseek_data.tables.build import RawRow, RawTable, build_table
from wideseek_data.tables.table import Table
from wideseek_data.tasks.recipes import (
    Comparison,
    Condition,
    Grouping,
    Measure,
    ShortRecipe,
    ShortShape,
    Top,
    WideRecipe,
    WideShape,
)

from .moons import moons

TABLE = moons()
OTHER = TABLE.model_copy(update={"id": "other", "title": "Other moons", "section": ""})
TABLES: Mapping[str, Table] = {"moons": TABLE, "other": OTHER}


def table_of(
    names: tuple[str, ...],
    *rows: tuple[str, ...],
    title: str = "Games",
    section: str = "",
) -> Table:
    raw = RawTable(
        title=title,
        section=section,
        names=names,
        rows=tuple(RawRow(cells=row) for row in rows),
        key=names[0],
    )
    return build_table(raw, "t")


def column_of(name: str, *cells: str) -> str:
    """What a column of these cells is called beside keys A, B, C, ..."""
    keys = "ABCDEFGH"
    rows = [(key, cell) for key, cell in zip(keys, cells, strict=False)]
    return column_phrase(table_of(("Team", name), *rows), name)


@pytest.mark.parametrize(
    ("name", "cells", "phrase"),
    [
        ("Venue", ("x", "y", "z"), "venue"),
        ("Directed by", ("x", "y", "z"), "director"),
        ("Pos", ("1", "2", "3"), "position"),
        ("Att.", ("1", "2", "3"), "attendance"),
        ("Points", ("1", "2", "3"), "number of points"),
        ("Points", ("1.5", "2", "3"), '"Points" value'),
        ("Total voters", ("1", "2", "3"), "total voters"),
        ("Attendance", ("1", "2", "3"), "attendance"),
        ("Area (km²)", ("1.5", "2", "3"), "area (km²)"),
        ("Won", ("1", "2", "3"), '"Won" value'),
        ("From", ("x", "y", "z"), '"From" entry'),
        ("Week of", ("x", "y", "z"), '"Week of" entry'),
        ("Armenian", ("x", "y", "z"), '"Armenian" entry'),
        ("Founded", ("1998", "1999", "2001"), "year founded"),
        ("Released", ("3 May 1998", "4 May 1999", "5 May 2001"), "date released"),
        ("Founded", ("a", "b", "c"), '"Founded" entry'),
        ("Year completed", ("1998", "1999", "2001"), "year completed"),
        ("The Winner", ("x", "y", "z"), "winner"),
        ("TV", ("x", "y", "z"), "TV"),
        ("Team", ("x", "y", "z"), "name of the team"),
    ],
)
def test_columns_have_names_that_fit_into_sentences(
    name: str, cells: tuple[str, ...], phrase: str
) -> None:
    if name == "Team":
        rows = [(key, cell) for key, cell in zip(("a", "b", "c"), cells, strict=True)]
        table = table_of(("Teams played", "Team"), *rows)
        assert column_phrase(table, "Team") == "team"
        return
    assert column_of(name, *cells) == phrase


def test_medals_are_counted_as_medals() -> None:
    names = ("Nation", "Gold", "Silver", "Bronze", "Total")
    table = table_of(
        names,
        ("Peru", "1", "2", "3", "6"),
        ("Cuba", "2", "0", "0", "2"),
        ("Fiji", "0", "0", "1", "1"),
    )
    assert column_phrase(table, "Gold") == "number of gold medals"
    assert column_phrase(table, "Total") == "total number of medals"
    alone = table_of(("Nation", "Gold"), ("Peru", "x"), ("Cuba", "y"), ("Fiji", "z"))
    assert column_phrase(alone, "Gold") == '"Gold" entry'


def test_a_number_of_a_game_is_the_game_number() -> None:
    table = table_of(
        ("Date", "Game", "Opponent"),
        ("3 May 2001", "1", "Reds"),
        ("4 May 2001", "2", "Blues"),
        ("5 May 2001", "3", "Reds"),
    )
    assert row_nouns(table) == ("game", "games")
    assert column_phrase(table, "Game") == "game number"


@pytest.mark.parametrize(
    ("key", "section", "nouns"),
    [
        ("Driver", "", ("driver", "drivers")),
        ("Country", "", ("country", "countries")),
        ("Church", "", ("church", "churches")),
        ("Title", "Track listing", ("track", "tracks")),
        ("Title", "Episodes", ("episode", "episodes")),
        ("Title", "Filmography", ("title", "titles")),
        ("Name", "Tallest buildings", ("building", "buildings")),
        ("Name", "Members", ("entry", "entries")),
        ("Date", "", ("entry", "entries")),
        ("Gold", "", ("entry", "entries")),
        ("Venue", "", ("entry", "entries")),
        ("First line", "", ("entry", "entries")),
    ],
)
def test_rows_are_called_by_key_and_section(key: str, section: str, nouns: tuple[str, str]) -> None:
    table = table_of((key, "x"), ("a", "1"), ("b", "2"), ("c", "3"), section=section)
    assert row_nouns(table) == nouns


def test_small_words() -> None:
    assert [plural(noun) for noun in ("city", "day", "box", "moon")] == [
        "cities",
        "days",
        "boxes",
        "moons",
    ]
    assert lower("Original Air Date") == "original air date"
    assert lower("TV Channel") == "TV channel"
    assert quoted("Won") == '"Won"'
    assert quoted('"Won"') == '"Won"'
    assert quoted("1,200") == "1,200"
    assert quoted("3 May 2001") == "3 May 2001"
    assert (is_are("votes"), is_are("status"), is_are("number of votes")) == ("are", "is", "is")


def test_rows_that_are_dates_are_named_as_rows() -> None:
    assert named(TABLE, "Ariel") == '"Ariel"'
    table = table_of(
        ("Date", "Score"), ("3 May 2001", "1–0"), ("4 May 2001", "2–0"), ("5 May 2001", "3–0")
    )
    assert named(table, "3 May 2001") == "the entry for 3 May 2001"


def test_a_place_names_title_and_section() -> None:
    places = {place(TABLE, random.Random(seed)) for seed in range(20)}
    assert places == {
        '"Moons of Uranus" (Large moons)',
        'the "Large moons" section of "Moons of Uranus"',
        '"Moons of Uranus", section "Large moons"',
    }
    inside = TABLE.model_copy(update={"title": 'The "inner" moons', "section": ""})
    assert all("'inner'" in place(inside, random.Random(seed)) for seed in range(9))


FINDER = Condition(column="Found by", comparison=Comparison.EQUAL, value="Voyager 2")
LARGE = Condition(column="Diameter", comparison=Comparison.ABOVE, value="200 km")
LATE = Condition(column="Year", comparison=Comparison.BETWEEN, value="1900", upper="1990")


def wide(shape: WideShape, **values: object) -> WideRecipe:
    columns = ("Moon", "Year", "Diameter")
    recipe = {"shape": shape, "table": "moons", "columns": columns, "labels": columns}
    return WideRecipe.model_validate(recipe | values)


def short(shape: ShortShape, column: str, **values: object) -> ShortRecipe:
    return ShortRecipe.model_validate({"shape": shape, "table": "moons", "column": column} | values)


WIDE = [
    (wide(WideShape.ALL), ["moons", "year and diameter"]),
    (wide(WideShape.EQUAL, conditions=(FINDER,)), ["ound by", '"Voyager 2"']),
    (wide(WideShape.RANGE, conditions=(LARGE,)), ["diameter is", "200 km"]),
    (wide(WideShape.BOTH, conditions=(LARGE, LATE)), ["200 km and whose", "from 1900 to 1990"]),
    (
        wide(WideShape.TOP, top=Top(column="Year", count=4)),
        ["4 moons", "latest year"],
    ),
    (
        wide(WideShape.TOP, top=Top(column="Diameter", count=3, largest=False)),
        ["3 moons", "lowest diameter"],
    ),
    (
        wide(
            WideShape.GROUPS,
            columns=("Group",),
            labels=("Group", "Total diameter"),
            grouping=Grouping(
                column="Group", measure=Measure.SUM, of="Diameter", label="Total diameter"
            ),
        ),
        ["group", "total diameter"],
    ),
    (
        wide(WideShape.JOIN, other="other", other_columns=("Group",)),
        ["moons", '"Other moons"', "group from the second"],
    ),
]


@pytest.mark.parametrize(("recipe", "parts"), WIDE)
def test_wide_questions_say_what_is_wanted(recipe: WideRecipe, parts: list[str]) -> None:
    for seed in range(12):
        said = language("en").wide_question(recipe, TABLES, random.Random(seed))
        assert "Moons of Uranus" in said
        assert ", ".join(recipe.labels) in said
        assert "Markdown table" in said
        for part in parts:
            assert part in said, said


SHORT = [
    (short(ShortShape.LOOKUP, "Year", keys=("Puck",)), ["year", '"Puck"']),
    (short(ShortShape.REVERSE, "Moon", conditions=(FINDER,)), ["moon", '"Voyager 2"']),
    (short(ShortShape.COUNT, "Moon", conditions=(LATE,)), ["How many moons", "from 1900"]),
    (short(ShortShape.EXTREME, "Moon", by="Diameter"), ["moon has the highest diameter"]),
    (short(ShortShape.OF_EXTREME, "Group", by="Year", largest=False), ["group", "earliest year"]),
    (short(ShortShape.DIFFERENCE, "Diameter", keys=("Puck", "Ariel")), ["differ", '"Ariel"']),
    (
        short(ShortShape.COMPARE, "Moon", by="Year", keys=("Puck", "Ariel")),
        ["later year", '"Puck"'],
    ),
    (short(ShortShape.SUM, "Diameter", conditions=(FINDER,)), ["total diameter of the moons"]),
    (short(ShortShape.OF_MATCH, "Year", conditions=(LARGE,)), ["year of the moon", "200 km"]),
    (
        short(ShortShape.HOP, "Group", other="other", by="Diameter"),
        ["group", "highest diameter", "Other moons"],
    ),
]


@pytest.mark.parametrize(("recipe", "parts"), SHORT)
def test_short_questions_say_what_is_wanted(recipe: ShortRecipe, parts: list[str]) -> None:
    for seed in range(12):
        said = language("en").short_question(recipe, TABLES, random.Random(seed))
        assert "Moons of Uranus" in said
        assert said.endswith("?")
        for part in parts:
            assert part in said or part.lower() in said, said


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            wide(WideShape.TOP, top=Top(column="Year", count=4)),
            "“Moons of Uranus”（Large moons）中，Year 最晚的4项是哪些？"
            "请给出每一项的 Year、Diameter。",
        ),
        (
            wide(WideShape.JOIN, other="other", other_columns=("Group",)),
            "哪些条目同时出现在“Moons of Uranus”（Large moons）和“Other moons”中？",
        ),
    ],
)
def test_wide_questions_in_chinese(recipe: WideRecipe, sentence: str) -> None:
    said = language("zh").wide_question(recipe, TABLES, random.Random(0))
    assert said.startswith(sentence)
    assert "Moon, Year, Diameter" in said


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            short(ShortShape.DIFFERENCE, "Diameter", keys=("Puck", "Ariel")),
            "“Moons of Uranus”（Large moons）中，“Puck”与“Ariel”的 Diameter 相差多少？",
        ),
        (
            short(ShortShape.SUM, "Diameter", conditions=(FINDER,)),
            "“Moons of Uranus”（Large moons）中，Found by 为“Voyager 2”的条目，"
            "其 Diameter 合计是多少？",
        ),
        (
            short(ShortShape.COMPARE, "Moon", by="Year", keys=("Puck", "Ariel"), largest=False),
            "“Moons of Uranus”（Large moons）中，“Puck”和“Ariel”相比，哪一项的 Year 更早？",
        ),
        (
            short(ShortShape.OF_MATCH, "Year", conditions=(LARGE,)),
            "“Moons of Uranus”（Large moons）中，Diameter 大于 200 km 的那一项，其 Year 是什么？",
        ),
    ],
)
def test_short_questions_in_chinese(recipe: ShortRecipe, sentence: str) -> None:
    assert language("zh").short_question(recipe, TABLES, random.Random(0)) == sentence


@pytest.mark.parametrize("name", list(GRAMMARS))
def test_every_language_words_every_shape(name: str) -> None:
    words = language(name)
    for recipe, _ in WIDE:
        assert words.wide_question(recipe, TABLES, random.Random(1))
        if recipe.grouping is not None:
            assert "iameter" in words.computed_label(recipe, TABLES)
    for recipe, _ in SHORT:
        assert words.short_question(recipe, TABLES, random.Random(1))


def test_a_language_without_phrases_is_named() -> None:
    with pytest.raises(ConfigError, match="no phrases for language 'fr'; known: en, zh"):
        language("fr")


def test_a_whole_year_is_said_as_a_year() -> None:
    table = table_of(
        ("Date", "Opponent", "Score"),
        ("3 May 2001", "Reds", "1–0"),
        ("4 May 2001", "Blues", "2–0"),
        ("5 May 2002", "Reds", "3–0"),
    )
    year = Condition(
        column="Date",
        comparison=Comparison.BETWEEN,
        value="1 January 2001",
        upper="31 December 2001",
    )
    recipe = ShortRecipe(shape=ShortShape.COUNT, table="t", column="Date", conditions=(year,))
    said = language("en").short_question(recipe, {"t": table}, random.Random(0))
    assert "games" in said
    assert "whose date is in 2001" in said
