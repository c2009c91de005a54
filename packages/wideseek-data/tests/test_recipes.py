"""Recipes: right answers by hand, what is not drawn, and the tasks that are made."""

import random
from collections import Counter

import pytest

from wideseek_core import TableGold, TextGold
from wideseek_core.tables import parse_table
from wideseek_data.tables.build import RawRow, RawTable, build_table
from wideseek_data.tables.table import Table
from wideseek_data.tasks.apply import NoAnswer, short_answer, wide_rows
from wideseek_data.tasks.draw_wide import draw_join
from wideseek_data.tasks.make import Amounts, make_tasks, needed_pages
from wideseek_data.tasks.quality import askable, groups, is_additive, nameable_keys
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

from .moons import BASE, ROWS, moons

TABLE = moons()
TABLES = {"moons": TABLE}


def _wide(**values: object) -> WideRecipe:
    return WideRecipe.model_validate(
        {
            "shape": WideShape.ALL,
            "table": "moons",
            "columns": ("Moon", "Year"),
            "labels": ("Moon", "Year"),
        }
        | values
    )


def _short(shape: ShortShape, column: str, **values: object) -> ShortRecipe:
    return ShortRecipe.model_validate({"shape": shape, "table": "moons", "column": column} | values)


def _keys(recipe: WideRecipe) -> list[str]:
    return [row[0] for row in wide_rows(recipe, TABLES)]


def test_all_rows_come_in_the_order_of_the_table() -> None:
    assert wide_rows(_wide(), TABLES) == [(row[0], row[2]) for row in ROWS]


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        (("Found by", Comparison.EQUAL, "lassell"), ["Ariel", "Umbriel"]),
        (("Diameter", Comparison.ABOVE, "1,158 km"), ["Umbriel", "Titania", "Oberon"]),
        (("Diameter", Comparison.BELOW, "135 km"), ["Juliet"]),
        (("Year", Comparison.ABOVE, "1948"), ["Puck", "Portia", "Juliet"]),
        (("Year", Comparison.BETWEEN, "1851", "1948"), ["Ariel", "Umbriel", "Miranda"]),
    ],
)
def test_conditions_pick_rows(condition: tuple[str, ...], keys: list[str]) -> None:
    column, comparison, value, *upper = condition
    item = Condition(
        column=column,
        comparison=Comparison(comparison),
        value=value,
        upper=upper[0] if upper else "",
    )
    assert _keys(_wide(conditions=(item,))) == keys


def test_the_largest_come_first_and_a_tie_at_the_end_is_no_task() -> None:
    top = Top(column="Diameter", count=3)
    assert _keys(_wide(top=top)) == ["Titania", "Oberon", "Umbriel"]
    with pytest.raises(NoAnswer, match="tie"):
        wide_rows(_wide(top=Top(column="Year", count=1)), TABLES)


@pytest.mark.parametrize(
    ("measure", "of", "values"),
    [
        (Measure.COUNT, "", {"classical": "5", "inner": "3"}),
        (Measure.SUM, "Diameter", {"classical": "5899", "inner": "391"}),
        (Measure.MAX, "Diameter", {"classical": "1,577 km", "inner": "162 km"}),
    ],
)
def test_groups_are_counted_summed_and_compared(
    measure: Measure, of: str, values: dict[str, str]
) -> None:
    grouping = Grouping(column="Group", measure=measure, of=of, label="x")
    rows = wide_rows(_wide(columns=("Group",), grouping=grouping), TABLES)
    assert {row[0]: row[1] for row in rows} == values


def test_zero_is_larger_than_what_is_below_it() -> None:
    cells = [("a", "x", "-3"), ("b", "x", "0"), ("c", "y", "-5"), ("d", "y", "-4")]
    table = build_table(
        RawTable(
            title="Lakes", names=("Lake", "Group", "Level"),
            rows=tuple(RawRow(cells=row) for row in cells), key="Lake",
        ),
        "lakes",
    )  # fmt: skip
    recipe = WideRecipe(
        shape=WideShape.GROUPS,
        table="lakes",
        columns=("Group",),
        labels=("Group", "x"),
        grouping=Grouping(column="Group", measure=Measure.MAX, of="Level", label="x"),
    )
    assert wide_rows(recipe, {"lakes": table}) == [("x", "0"), ("y", "-4")]


def test_a_join_takes_the_keys_that_both_tables_have() -> None:
    other = TABLE.model_copy(update={"id": "other", "title": "Other", "rows": TABLE.rows[2:5]})
    recipe = _wide(other="other", other_columns=("Group",))
    assert wide_rows(recipe, TABLES | {"other": other}) == [
        ("Titania", "1787", "classical"),
        ("Oberon", "1787", "classical"),
        ("Miranda", "1948", "classical"),
    ]


VOYAGER = (Condition(column="Found by", comparison=Comparison.EQUAL, value="Voyager 2"),)
KUIPER = (Condition(column="Found by", comparison=Comparison.EQUAL, value="Kuiper"),)


@pytest.mark.parametrize(
    ("recipe", "answer"),
    [
        (_short(ShortShape.LOOKUP, "Year", keys=("Puck",)), "1985"),
        (_short(ShortShape.REVERSE, "Moon", conditions=KUIPER), "Miranda"),
        (_short(ShortShape.COUNT, "Moon", conditions=VOYAGER), "3"),
        (_short(ShortShape.EXTREME, "Moon", by="Diameter"), "Titania"),
        (_short(ShortShape.EXTREME, "Moon", by="Diameter", largest=False), "Juliet"),
        (_short(ShortShape.OF_EXTREME, "Found by", by="Diameter"), "Herschel"),
        (_short(ShortShape.DIFFERENCE, "Diameter", keys=("Ariel", "Umbriel")), "11"),
        (_short(ShortShape.COMPARE, "Moon", by="Year", keys=("Puck", "Miranda")), "Puck"),
        (_short(ShortShape.SUM, "Diameter", conditions=VOYAGER), "391"),
        (_short(ShortShape.OF_MATCH, "Diameter", conditions=KUIPER), "472 km"),
    ],
)
def test_short_answers_follow_from_the_table(recipe: ShortRecipe, answer: str) -> None:
    assert short_answer(recipe, TABLES) == answer


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (_short(ShortShape.REVERSE, "Moon", conditions=VOYAGER), "not exactly one"),
        (_short(ShortShape.EXTREME, "Moon", by="Year", largest=False), "tie"),
        (_short(ShortShape.LOOKUP, "Year", keys=("Triton",)), "no such key"),
        (_short(ShortShape.DIFFERENCE, "Year", keys=("Puck", "Puck")), "no difference"),
        (_short(ShortShape.SUM, "Found by", conditions=VOYAGER), "no numbers"),
    ],
)
def test_what_has_no_single_answer_is_no_task(recipe: ShortRecipe, reason: str) -> None:
    with pytest.raises(NoAnswer, match=reason):
        short_answer(recipe, TABLES)


def test_a_hop_asks_the_second_table() -> None:
    other = TABLE.model_copy(update={"id": "other", "title": "Other"})
    recipe = _short(ShortShape.HOP, "Group", other="other", by="Diameter", largest=False)
    assert short_answer(recipe, TABLES | {"other": other}) == "inner"


def _with(column: str, cells: list[str]) -> Table:
    at = TABLE.names.index(column)
    rows = [
        row.model_copy(update={"cells": (*row.cells[:at], cell, *row.cells[at + 1 :])})
        for row, cell in zip(TABLE.rows, cells, strict=True)
    ]
    return TABLE.model_copy(update={"rows": tuple(rows)})


def test_values_that_are_part_of_others_are_no_groups() -> None:
    table = _with("Group", ["Won", "Won", "Won (aet)", "Lost", "Lost", "Lost", "Won", "Won"])
    assert groups(table, "Group") == {"Lost": 3}


def test_columns_of_gaps_and_long_cells_are_not_asked_for() -> None:
    assert "Group" not in askable(_with("Group", ["-"] * 3 + ["x"] * 5))
    assert "Group" not in askable(_with("Group", ["x" * 81] + ["y"] * 7))
    assert "Group" not in askable(_with("Group", ["y. Parent: Uranus"] + ["y"] * 7))


def test_keys_inside_other_keys_are_not_named() -> None:
    table = _with("Moon", ["Ariel", "Ariel II", "c", "d", "e", "f", "g", "h"])
    assert nameable_keys(table) == ["c", "d", "e", "f", "g", "h"]


def test_numbers_that_only_count_rows_are_not_added() -> None:
    assert not is_additive(TABLE, "No. in order")
    assert not is_additive(TABLE, "Year")


def test_tasks_have_gold_of_the_table_and_name_their_pages() -> None:
    plans = list(make_tasks([TABLE], Amounts(wide_per_table=12, short_per_table=27), Counter()))
    assert len({plan.task.id for plan in plans}) == len(plans) > 15
    cells = {cell for row in ROWS for cell in row}
    for plan in plans:
        gold = plan.task.gold
        assert plan.entities == ("moons of uranus",)
        assert "Moons of Uranus" in plan.task.question
        assert set(plan.pages) <= set(TABLE.urls())
        if isinstance(gold, TableGold):
            table = parse_table(gold.text)
            assert table is not None
            assert 3 <= len(table.rows) <= 50
            assert 2 <= len(table.columns) <= 8
            assert gold.required_columns == table.columns
            assert all(name in plan.task.question for name in table.columns)
        else:
            assert isinstance(gold, TextGold)
            assert gold.answers[0] in cells or gold.answers[0].isdigit()


def test_tasks_of_a_table_stay_when_other_tables_come() -> None:
    other = TABLE.model_copy(update={"id": "other", "title": "Quite another"})
    amounts = Amounts(wide_per_table=6, short_per_table=9)
    alone = {plan.task.id for plan in make_tasks([TABLE], amounts, Counter())}
    both = {plan.task.id for plan in make_tasks([other, TABLE], amounts, Counter())}
    assert alone < both


def test_pages_that_a_task_needs_are_those_of_its_rows() -> None:
    recipe = _short(ShortShape.LOOKUP, "Year", keys=("Puck",))
    assert needed_pages(recipe, TABLES) == (f"{BASE}/Puck#Large_moons",)
    assert len(needed_pages(_wide(), TABLES)) == 9


def test_tables_of_one_title_are_not_joined() -> None:
    other = TABLE.model_copy(update={"id": "other"})
    assert list(draw_join(TABLE, other, random.Random(0))) == []


def test_totals_are_said_to_be_unwanted() -> None:
    table = TABLE.model_copy(update={"totals": 1})
    plans = make_tasks([table], Amounts(wide_per_table=6, short_per_table=0), Counter())
    wide = [plan for plan in plans if plan.task.source.endswith(("all", "equal", "range"))]
    assert wide
    assert all("otals" in plan.task.question for plan in wide)
