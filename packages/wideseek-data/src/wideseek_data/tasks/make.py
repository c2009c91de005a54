"""Planned tasks: recipes drawn from tables, worded, with their gold.

What is drawn from a table depends on the table and the seed alone, so tasks stay the same when
other tables come or go.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from wideseek_core import TableGold, Task, TextGold
from wideseek_core.tables import MarkdownTable
from wideseek_core.tasks import Language
from wideseek_data.phrases import language
from wideseek_data.tables.build import is_key
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import normalized
from wideseek_data.tasks.apply import NoAnswer, matching, short_answer, top_rows, wide_rows
from wideseek_data.tasks.draw_short import SINGLE_SHAPES, draw_hop, draw_short
from wideseek_data.tasks.draw_wide import MAX_ROWS, MIN_ROWS, draw_join, draw_wide
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe, WideRecipe, WideShape

MAX_PARTNERS = 3
"""Tables that one table is joined with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How many recipes are drawn."""

    wide_per_table: int = 8
    short_per_table: int = 20
    seed: int = 0
    languages: Mapping[Language, float] = field(default_factory=lambda: {"en": 1.0})
    """Shares of the languages."""


def make_tasks(
    tables: Sequence[Table], amounts: Amounts, dropped: Counter[str]
) -> Iterator[PlannedTask]:
    """The tasks of all tables and pairs; what can't be answered is counted by its reason."""
    by_id = {table.id: table for table in tables}
    for table in tables:
        rng = random.Random(f"{amounts.seed} {table.id}")
        for recipe in _of_table(table, amounts, rng):
            yield from _planned(recipe, by_id, amounts, rng, dropped)
    for first, second in partners(tables):
        rng = random.Random(f"{amounts.seed} {first.id} {second.id}")
        for recipe in (*draw_join(first, second, rng), *draw_hop(first, second, rng)):
            yield from _planned(recipe, by_id, amounts, rng, dropped)


def _of_table(
    table: Table, amounts: Amounts, rng: random.Random
) -> Iterator[WideRecipe | ShortRecipe]:
    """Recipes in turns over all shapes, without repetitions."""
    seen: set[str] = set()
    shapes = [shape for shape in WideShape if shape is not WideShape.JOIN]
    for number in range(amounts.wide_per_table):
        for recipe in draw_wide(table, shapes[number % len(shapes)], rng):
            if _new(recipe, seen):
                yield recipe
    for number in range(amounts.short_per_table):
        for recipe in draw_short(table, SINGLE_SHAPES[number % len(SINGLE_SHAPES)], rng):
            if _new(recipe, seen):
                yield recipe


def _new(recipe: WideRecipe | ShortRecipe, seen: set[str]) -> bool:
    name = recipe.model_dump_json(exclude={"columns", "labels"})
    is_new = name not in seen
    seen.add(name)
    return is_new


def partners(tables: Sequence[Table]) -> Iterator[tuple[Table, Table]]:
    """Pairs of tables that share at least three keys, each table in few of them."""
    having: dict[str, list[Table]] = defaultdict(list)
    for table in tables:
        for key in table.cells(table.key):
            having[normalized(key)].append(table)
    shared = Counter[tuple[str, str]]()
    for holders in having.values():
        if len(holders) <= 40:
            shared.update((one.id, two.id) for one, two in combinations(holders, 2))
    by_id = {table.id: table for table in tables}
    used = Counter[str]()
    for (one, two), count in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
        if count >= MIN_ROWS and max(used[one], used[two]) < MAX_PARTNERS:
            used.update((one, two))
            yield by_id[one], by_id[two]


def _planned(
    recipe: WideRecipe | ShortRecipe,
    tables: Mapping[str, Table],
    amounts: Amounts,
    rng: random.Random,
    dropped: Counter[str],
) -> Iterator[PlannedTask]:
    spoken = rng.choices(list(amounts.languages), list(amounts.languages.values()))[0]
    try:
        if isinstance(recipe, WideRecipe):
            yield _wide(recipe, tables, spoken, rng)
        else:
            yield _short(recipe, tables, spoken, rng)
    except NoAnswer as problem:
        dropped[str(problem)] += 1


def _wide(
    recipe: WideRecipe, tables: Mapping[str, Table], spoken: Language, rng: random.Random
) -> PlannedTask:
    rows = wide_rows(recipe, tables)
    words = language(spoken)
    if recipe.grouping is not None:
        label = words.computed_label(recipe, tables)
        recipe = recipe.model_copy(update={"labels": (recipe.columns[0], label)})
    if not MIN_ROWS <= len(rows) <= MAX_ROWS:
        raise NoAnswer("too few or too many rows")
    if not is_key([row[0] for row in rows]):
        raise NoAnswer("keys that are not unique")
    question = words.wide_question(recipe, tables, rng)
    text = MarkdownTable(columns=recipe.labels, rows=tuple(rows)).markdown()
    gold = TableGold(text=text, key_columns=recipe.labels[:1], required_columns=recipe.labels)
    return PlannedTask(
        task=Task(
            id=f"wide-{_digest(question)}",
            question=question,
            language=spoken,
            gold=gold,
            source=f"{tables[recipe.table].source}/{recipe.shape}",
            rows=len(rows),
        ),
        recipe=recipe,
        entities=_entities(recipe, tables),
        pages=needed_pages(recipe, tables),
    )


def _short(
    recipe: ShortRecipe, tables: Mapping[str, Table], spoken: Language, rng: random.Random
) -> PlannedTask:
    answer = short_answer(recipe, tables)
    if answer == "0" or len(answer) > 80:
        raise NoAnswer("answers that are zero or long")
    question = language(spoken).short_question(recipe, tables, rng)
    return PlannedTask(
        task=Task(
            id=f"short-{_digest(question)}",
            question=question,
            language=spoken,
            gold=TextGold(answers=(answer,)),
            source=f"{tables[recipe.table].source}/{recipe.shape}",
        ),
        recipe=recipe,
        entities=_entities(recipe, tables),
        pages=needed_pages(recipe, tables),
    )


def _entities(recipe: WideRecipe | ShortRecipe, tables: Mapping[str, Table]) -> tuple[str, ...]:
    ids = filter(None, (recipe.table, recipe.other))
    return tuple(dict.fromkeys(tables[name].entity for name in ids))


def needed_rows(recipe: WideRecipe | ShortRecipe, table: Table) -> list[int]:
    """The rows of the recipe's first table that someone has to read to answer."""
    if recipe.conditions or not isinstance(recipe, ShortRecipe) or not recipe.keys:
        return list(range(len(table.rows)))
    wanted = {normalized(key) for key in recipe.keys}
    return [row for row, key in enumerate(table.cells(table.key)) if normalized(key) in wanted]


def needed_pages(recipe: WideRecipe | ShortRecipe, tables: Mapping[str, Table]) -> tuple[str, ...]:
    """The addresses of the pages that state the answer's own cells, lists of keys first."""
    table = tables[recipe.table]
    rows = needed_rows(recipe, table)
    if isinstance(recipe, WideRecipe) and recipe.grouping is None:
        rows = matching(recipe, table)
        rows = top_rows(table, rows, recipe.top) if recipe.top else rows
    found = [table.url] if len(rows) > 2 else []
    found += [table.rows[row].url for row in rows]
    if recipe.other:
        other = tables[recipe.other]
        keys = {normalized(table.cell(row, table.key)) for row in rows}
        found += [
            row.url
            for row in other.rows
            if normalized(row.cells[other.names.index(other.key)]) in keys
        ]
    return tuple(dict.fromkeys(filter(None, found)))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
