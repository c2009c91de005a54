"""What a model's rewriting must have to replace the grammar's."""

import re
from collections.abc import Mapping
from typing import cast

from wideseek_core import DataError
from wideseek_core.json_text import parse_json
from wideseek_core.language import detect_language
from wideseek_core.text import after_thinking
from wideseek_data.checks.questions import gives_away
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import normalized
from wideseek_data.tasks.recipes import PlannedTask, WideRecipe

MAX_LENGTH = 1200
"""Characters of a question."""
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class Malformed(Exception):
    """A reply that can't be used; the text says why, in words that are counted."""


def read_rewriting(text: str, plan: PlannedTask, tables: Mapping[str, Table]) -> str:
    """The question of a reply. Raises `Malformed`."""
    question = _question(text)
    if len(question) > MAX_LENGTH:
        raise Malformed("the question is too long")
    if detect_language(question)[:2] != plan.task.language[:2]:
        raise Malformed("the question is in another language")
    said = f" {normalized(question)} "
    if f" {normalized(tables[plan.recipe.table].title)} " not in said:
        raise Malformed("the question does not name the source")
    _check_parts(plan, question, said)
    if gives_away(plan, question):
        raise Malformed("the question gives the answer away")
    return question


def _question(text: str) -> str:
    found = _OBJECT.search(after_thinking(text))
    if found is None:
        raise Malformed("the reply is no JSON object")
    try:
        value = parse_json(found[0])
    except DataError:
        raise Malformed("the reply is no JSON object") from None
    question = cast(dict[str, object], value).get("question") if isinstance(value, dict) else None
    if not isinstance(question, str) or not question.strip():
        raise Malformed("the reply has no question")
    return " ".join(question.split())


def _check_parts(plan: PlannedTask, question: str, said: str) -> None:
    """Raises `Malformed` for a column, condition, number or key that the question lacks."""
    recipe = plan.recipe
    if isinstance(recipe, WideRecipe):
        if not all(_names(label, question, said) for label in recipe.labels):
            raise Malformed("the question lacks a column's name")
        if recipe.top is not None and str(recipe.top.count) not in question:
            raise Malformed("the question lacks the number of rows")
    elif not all(f" {normalized(key)} " in said for key in recipe.keys):
        raise Malformed("the question lacks a name")
    for item in recipe.conditions:
        if not all(f" {normalized(value)} " in said for value in _values(item.value, item.upper)):
            raise Malformed("the question lacks a condition's value")


def _names(label: str, question: str, said: str) -> bool:
    """Whether a column is named, as a word of its own; one of signs alone, as it is."""
    plain = normalized(label)
    return f" {plain} " in said if plain else label in question


def _values(value: str, upper: str) -> list[str]:
    """The values that a question has to name: for a whole year, the year alone."""
    if value.startswith("1 January ") and upper.startswith("31 December "):
        return [value.rpartition(" ")[2]]
    return [text for text in (value, upper) if text]
