"""Wide questions about a domain, with their gold tables and the plan that answers them."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from wideseek_core import ColumnRule, TableGold, Task
from wideseek_data.atlas.world import Attribute, Domain, Entity, Kind, with_article

_JUDGED = ColumnRule(metric=("llm_judge",))
"""What a judge does without a rule too; the official evaluator wants one for every column."""
_EXACT_NUMBER = ColumnRule(metric=("number_near",), criterion=0.0)


class Shape(StrEnum):
    """What picks the rows of a question."""

    GROUP = "group"
    """All members of a listed group."""
    BOTH = "both"
    """Members that share a second property."""
    RANGE = "range"
    """Members with a number above or below a bound."""
    TOP = "top"
    """The k members with the largest number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The condition beyond the group, in a form that code can apply."""

    shape: Shape
    column: str = ""
    value: str = ""
    """The shared value, the bound, or k."""
    above: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """A wide question with the plan that answers it."""

    task: Task
    domain: Domain
    group: Attribute
    group_value: str
    members: tuple[Entity, ...]
    """What the group's list page names."""
    columns: tuple[str, ...]
    """Asked for, without the key column."""
    filter: Filter
    rows: tuple[Entity, ...] = field(default=())
    """The members that belong into the table."""


MAX_K = 12

FRAMES = (
    "List all {what}. Give a Markdown table with the columns {columns}.",
    "Which are the {what}? Answer with a Markdown table of {columns}.",
    "Make a table of the {what} with these columns: {columns}.",
    "I need every one of the {what}, as a Markdown table with {columns}.",
    "Find the {what} and give for each of them {columns} in a Markdown table.",
)


def number(text: str) -> float | None:
    """The value of a number as pages write it, or None."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def passes(entity: Entity, rule: Filter) -> bool:
    """Whether an entity meets a filter by itself (all do for `GROUP` and `TOP`)."""
    value = entity.values.get(rule.column, "")
    if rule.shape is Shape.BOTH:
        return value == rule.value
    if rule.shape is Shape.RANGE:
        size, bound = number(value), number(rule.value)
        if size is None or bound is None:
            return False
        return size > bound if rule.above else size < bound
    return True


def select(members: Sequence[Entity], rule: Filter) -> list[Entity]:
    """The members that belong into the table, in list order (by size for `TOP`)."""
    if rule.shape is Shape.TOP:
        sized = [(number(item.values.get(rule.column, "")), item) for item in members]
        known = [(size, item) for size, item in sized if size is not None]
        ranked = sorted(known, key=lambda pair: -pair[0])
        return [item for _, item in ranked[: int(rule.value)]]
    return [item for item in members if passes(item, rule)]


def questions(domain: Domain, rng: random.Random, *, per_group: int = 2) -> Iterator[Wide]:
    """Up to `per_group` questions of each shape for every listed group of a domain."""
    for attribute in domain.attributes:
        for value, members in domain.listed(attribute).items():
            for shape in Shape:
                for _ in range(per_group):
                    made = question(domain, attribute, value, members, shape, rng)
                    if made is not None:
                        yield made


def question(
    domain: Domain,
    attribute: Attribute,
    value: str,
    members: Sequence[Entity],
    shape: Shape,
    rng: random.Random,
) -> Wide | None:
    """One question about a group, or None if the group is no good for that shape."""
    if len(members) < 2 or len({domain.split_of(item) for item in members}) > 1:
        return None
    drawn = _draw_filter(domain, attribute, members, shape, rng)
    if drawn is None:
        return None
    rule, phrase = drawn
    rows = select(members, rule)
    if len(rows) < 2 or (shape is not Shape.GROUP and len(rows) == len(members)):
        return None
    asked = [
        item.column
        for item in domain.attributes
        if item.column not in (attribute.column, rule.column)
        and all(item.column in row.values for row in rows)
    ]
    if shape in (Shape.RANGE, Shape.TOP) and rng.random() < 0.5:
        asked.append(rule.column)
    if not asked:
        return None
    columns = rng.sample(asked, min(len(asked), rng.choice((1, 1, 2, 2, 3))))
    what = phrase.format(
        nouns=domain.nouns, group=attribute.group.format(value=with_article(value))
    )
    labels = [domain.key, *columns]
    text = rng.choice(FRAMES).format(what=what, columns=", ".join(labels))
    task = Task(
        id=f"{domain.name}-{rng.getrandbits(40):010x}",
        question=text,
        gold=_gold(domain, columns, rows),
        source=f"{domain.name}/{shape}",
        rows=len(rows),
    )
    return Wide(
        task=task,
        domain=domain,
        group=attribute,
        group_value=value,
        members=tuple(members),
        columns=tuple(columns),
        filter=rule,
        rows=tuple(rows),
    )


def _draw_filter(
    domain: Domain,
    attribute: Attribute,
    members: Sequence[Entity],
    shape: Shape,
    rng: random.Random,
) -> tuple[Filter, str] | None:
    """A filter of that shape and the phrase that says it, or None if no column fits."""
    if shape is Shape.GROUP:
        return Filter(shape=shape), "{nouns} {group}"
    fitting = [
        item
        for item in domain.attributes
        if item.column != attribute.column
        and all(item.column in member.values for member in members)
        and {Shape.BOTH: item.group, Shape.RANGE: item.above, Shape.TOP: item.most}[shape]
    ]
    if not fitting:
        return None
    chosen = rng.choice(fitting)
    values = [member.values[chosen.column] for member in members]
    if shape is Shape.BOTH:
        value = rng.choice(values)
        rule = Filter(shape=shape, column=chosen.column, value=value)
        return rule, "{nouns} {group} and " + _plain(chosen.group.format(value=value))
    sizes = sorted(size for text in values if (size := number(text)) is not None)
    if len(sizes) < max(3, len(values)):
        return None
    if shape is Shape.TOP:
        if len(set(sizes)) < len(sizes):
            return None
        k = rng.randint(2, min(len(sizes) - 1, MAX_K))
        rule = Filter(shape=shape, column=chosen.column, value=str(k))
        return rule, f"{k} {_plain(chosen.most)} {{nouns}} {{group}}"
    above = rng.random() < 0.5 or not chosen.below
    cut = rng.randrange(1, len(sizes))
    bound = _bound(sizes[cut - 1], sizes[cut], above)
    if bound is None:
        return None
    text = f"{bound:,.6f}" if any("," in text for text in values) else f"{bound:.6f}"
    value = text.rstrip("0").rstrip(".")
    rule = Filter(shape=shape, column=chosen.column, value=value, above=above)
    phrase = chosen.above if above else chosen.below
    return rule, "{nouns} {group} " + _plain(phrase.format(value=rule.value))


def _plain(text: str) -> str:
    """A value put into a template that is formatted once more."""
    return text.replace("{", "{{").replace("}", "}}")


def _bound(low: float, high: float, above: bool) -> float | None:
    """A short number that parts two others; between whole numbers it is whole."""
    bound = roundest(low, high)
    if low.is_integer() and high.is_integer():
        if bound is None or not bound.is_integer():
            bound = low if above else high
        return bound if abs(bound) > 1 else None  # nobody says "more than 0 islands"
    return bound


def roundest(low: float, high: float) -> float | None:
    """The number with the fewest digits strictly between two others, or None if none is short."""
    for power in range(9, -5, -1):
        step = 10.0**power
        for unit in (step * 5, step * 2, step):
            bound = round((math.floor(low / unit + 1e-9) + 1) * unit, 6)
            if low < bound < high:
                return bound
    return None


def _gold(domain: Domain, columns: Sequence[str], rows: Sequence[Entity]) -> TableGold:
    labels = [domain.key, *columns]
    lines = [labels, ["---"] * len(labels)]
    lines += [[row.name, *(row.values[column] for column in columns)] for row in rows]
    numbers = [column for column in columns if domain.attribute(column).kind is Kind.NUMBER]
    return TableGold(
        text="\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines),
        key_columns=(domain.key,),
        required_columns=tuple(labels),
        rules=dict.fromkeys(columns, _JUDGED) | dict.fromkeys(numbers, _EXACT_NUMBER),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
