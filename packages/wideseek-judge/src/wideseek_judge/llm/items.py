"""What is put to a judging model: numbered items in groups, and the replies that fit them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from wideseek_judge.llm.chat import Schema

MAX_VALUE_CHARACTERS = 1000
"""Of longer values the beginning and the end are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What the items of a group have in common, as the model is shown it."""

    question: str
    column: str
    criterion: str = ""
    references: tuple[str, ...] = ()
    """Numbered from 1; only where a reference is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be decided by a number from 0 to `highest`: a cell, or a key to align."""

    group: Group
    value: str
    reference: str = ""

    @property
    def highest(self) -> int:
        """The largest number that decides it."""
        return len(self.group.references) or 1

    @property
    def shown_characters(self) -> int:
        """How much of a request it takes."""
        return min(len(self.value) + len(self.reference), 2 * MAX_VALUE_CHARACTERS)

    def shown(self) -> object:
        """What the model sees of it, beside its number and its group."""
        if self.group.references:
            return _cut(self.value)
        return {"answer": _cut(self.value), "reference": _cut(self.reference)}


def _cut(value: str) -> str:
    if len(value) <= MAX_VALUE_CHARACTERS:
        return value
    end = MAX_VALUE_CHARACTERS // 4
    return f"{value[: MAX_VALUE_CHARACTERS - end]} … {value[-end:]}"


def grouped(items: Sequence[Item]) -> list[dict[str, object]]:
    """The items as the prompt shows them: numbered through, by group."""
    shown: dict[Group, dict[str, object]] = {}
    for at, item in enumerate(items, 1):
        shown.setdefault(item.group, {})[str(at)] = item.shown()
    return [_heading(group) | {_label(group): numbered} for group, numbered in shown.items()]


def _label(group: Group) -> str:
    return "values" if group.references else "items"


def _heading(group: Group) -> dict[str, object]:
    heading: dict[str, object] = {"question": group.question, "column": group.column}
    if group.criterion:
        heading["criterion"] = group.criterion
    if group.references:
        heading["references"] = {str(at): name for at, name in enumerate(group.references, 1)}
    return heading


def verdict_schema(items: Sequence[Item]) -> Schema:
    """The JSON schema of a reply that gives every item its number."""
    numbers = {str(at): _number_schema(item.highest) for at, item in enumerate(items, 1)}
    return object_schema(numbers)


def _number_schema(highest: int) -> JsonValue:
    if highest == 1:
        return {"type": "integer", "enum": [0, 1]}
    return {"type": "integer", "minimum": 0, "maximum": highest}


def object_schema(properties: dict[str, JsonValue]) -> Schema:
    """The JSON schema of an object with exactly these properties."""
    required: list[JsonValue] = [*properties]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
