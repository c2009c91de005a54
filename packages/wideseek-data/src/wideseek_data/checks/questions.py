"""Checks of a question by itself: answers that it gives away, facts that need a date, doubles."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from wideseek_core import TableGold, TextGold
from wideseek_core.tables import parse_table
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import normalized
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe, ShortShape, WideRecipe

_TIME_BOUND = re.compile(
    r"\b(population|inhabitants|residents|enrol?lment|students|employees|staff|members|net worth"
    r"|revenue|price|salary|ranking|capacity|current|age|record|highest peak rank|subscribers"
    r"|followers|ridership|fleet)\b|人口|学生|员工|价格|收入|年龄|排名",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?<!\d)(?:1[5-9]\d\d|20\d\d)(?!\d)")


def gives_away(plan: PlannedTask, question: str) -> bool:
    """Whether a question holds its own answer."""
    gold, recipe = plan.task.gold, plan.recipe
    said = f" {normalized(question)} "
    if isinstance(gold, TextGold):
        if isinstance(recipe, ShortRecipe) and recipe.shape is ShortShape.COMPARE:
            return False  # it offers two answers by intention
        return any(f" {normalized(answer)} " in said for answer in gold.answers)
    return _table_given(gold, said)


def _table_given(gold: TableGold, said: str) -> bool:
    table = parse_table(gold.text)
    rows = table.rows if table else ()
    return bool(rows) and all(f" {normalized(cell)} " in said for row in rows for cell in row)


def undated_columns(plan: PlannedTask, tables: Mapping[str, Table]) -> list[str]:
    """The columns whose values change with time while neither question nor table says when."""
    table = tables[plan.recipe.table]
    place = f"{table.title} {table.section}"
    if _YEAR.search(plan.task.question) or _YEAR.search(place):
        return []
    return [name for name in _asked(plan) if _TIME_BOUND.search(name) and not _YEAR.search(name)]


def _asked(plan: PlannedTask) -> list[str]:
    recipe = plan.recipe
    names = [item.column for item in recipe.conditions]
    if isinstance(recipe, WideRecipe):
        names += [*recipe.columns, *recipe.other_columns]
        names += [recipe.top.column] if recipe.top else []
        names += [recipe.grouping.of] if recipe.grouping else []
    else:
        names += [recipe.column, recipe.by]
    return [name for name in dict.fromkeys(names) if name]


DATED = {
    "en": " Take the figures as that page states them.",
    "zh": "数字以该页面所载为准。",
}
"""What is said of facts that change with time where no year is known."""


def dated(plan: PlannedTask) -> PlannedTask:
    """The task with the remark which figures are meant."""
    question = plan.task.question + DATED.get(plan.task.language, DATED["en"])
    return plan.model_copy(update={"task": plan.task.model_copy(update={"question": question})})


def without_doubles(
    plans: Sequence[PlannedTask], threshold: float
) -> Iterator[tuple[PlannedTask, str]]:
    """Each task with why it is a double of an earlier one; "" for those that are none.

    Tasks are compared with those on the same tables: others name another source.
    """
    seen: dict[tuple[str, ...], list[tuple[frozenset[str], PlannedTask]]] = defaultdict(list)
    questions: set[str] = set()
    for plan in plans:
        text = normalized(plan.task.question)
        shingles = _shingles(text)
        before = seen[plan.recipe.kind, plan.recipe.table, plan.recipe.other]
        if text in questions:
            yield plan, "the same question"
        elif any(_same_answer(plan, other) for _, other in before):
            yield plan, "the same answer"
        elif any(_overlap(shingles, other) >= threshold for other, _ in before):
            yield plan, "nearly the same question"
        else:
            before.append((shingles, plan))
            questions.add(text)
            yield plan, ""


def _same_answer(one: PlannedTask, other: PlannedTask) -> bool:
    """Whether two tables hold the same; short answers may well be equal by chance."""
    first, second = one.task.gold, other.task.gold
    if isinstance(first, TableGold) and isinstance(second, TableGold):
        return first.text == second.text
    return (
        one.recipe.model_dump(exclude={"largest"}) == other.recipe.model_dump(exclude={"largest"})
        and first == second
    )


def _shingles(text: str, size: int = 3) -> frozenset[str]:
    words = text.split()
    return frozenset(" ".join(words[at : at + size]) for at in range(max(1, len(words) - size + 1)))


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity."""
    return len(one & other) / len(one | other) if one | other else 1.0
