"""Questions in Chinese; columns, names and values keep the language of the source."""

import random
import re
from collections.abc import Mapping, Sequence

from wideseek_data.phrases.nouns import listing
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

_SPACES = re.compile(r"(?<=[，。？：、（]) | (?=[，。？：、（）])")
_LABELS = {Measure.COUNT: "数量", Measure.SUM: "{of}合计", Measure.MAX: "{of}最大值"}


def wide_question(recipe: WideRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    """The words of a wide task."""
    table = tables[recipe.table]
    where, asked = _place(table), _names(recipe.columns[1:])
    names = listing(recipe.labels)
    if recipe.shape is WideShape.TOP and recipe.top is not None:
        most = _most(table, recipe.top.column, largest=recipe.top.largest)
        said = f"{where}中，{most}的{recipe.top.count}项是哪些？请给出每一项的{asked}。"
    elif recipe.grouping is not None:
        said = _grouped(recipe, where)
    elif recipe.other:
        there = _place(tables[recipe.other])
        others = _names(recipe.other_columns)
        said = f"哪些条目同时出现在{where}和{there}中？请给出前者的{asked}，以及后者的{others}。"
    else:
        rule = "且".join(_condition(item, table) for item in recipe.conditions)
        which = f"{rule}的" if rule else "全部"
        said = rng.choice(
            (
                f"请列出{where}中{which}条目，并给出每一项的{asked}。",
                f"{where}中有哪些{'符合“' + rule + '”这一条件的' if rule else ''}条目？"
                f"请逐一给出其{asked}。",
            )
        )
    form = rng.choice(
        (
            f"请用一个 Markdown 表格作答，列名依次为：{names}。",
            f"答案应为一个 Markdown 表格，包含以下各列：{names}。",
        )
    )
    totals = "不要包含合计行。" if table.totals and recipe.grouping is None else ""
    return _spaced(f"{said}{form}{totals}")


def _grouped(recipe: WideRecipe, where: str) -> str:
    grouping = recipe.grouping
    assert grouping is not None
    by = _name(grouping.column)
    match grouping.measure:
        case Measure.COUNT:
            return f"{where}中，按{by}统计，每一种各有多少条目？"
        case Measure.SUM:
            return f"{where}中，按{by}分组，每一组的{_name(grouping.of)}合计是多少？"
        case Measure.MAX:
            return f"{where}中，按{by}分组，每一组的{_name(grouping.of)}最大值是多少？"


_SHORT: dict[ShortShape, tuple[str, ...]] = {
    ShortShape.LOOKUP: (
        "{where}中，{keys[0]}的{name}是什么？",
        "根据{where}，{keys[0]}的{name}是什么？",
    ),
    ShortShape.REVERSE: ("{where}中，{rule}的是哪一项？", "在{where}里，哪一项的{rule}？"),
    ShortShape.COUNT: (
        "{where}中，{rule}的条目有多少个？",
        "在{where}里，一共有多少个条目的{rule}？",
    ),
    ShortShape.EXTREME: ("{where}中，{most}的是哪一项？", "在{where}里，哪一项的{most}？"),
    ShortShape.OF_EXTREME: ("{where}中，{most}的那一项，其{name}是什么？",),
    ShortShape.DIFFERENCE: ("{where}中，{keys[0]}与{keys[1]}的{name}相差多少？",),
    ShortShape.COMPARE: ("{where}中，{keys[0]}和{keys[1]}相比，哪一项的{by}{more}？",),
    ShortShape.SUM: ("{where}中，{rule}的条目，其{name}合计是多少？",),
    ShortShape.OF_MATCH: ("{where}中，{rule}的那一项，其{name}是什么？",),
    ShortShape.HOP: ("{where}中{which}的那一项，在{there}中的{name}是什么？",),
}


def short_question(recipe: ShortRecipe, tables: Mapping[str, Table], rng: random.Random) -> str:
    """The words of a short question."""
    table = tables[recipe.table]
    rule = "且".join(_condition(item, table) for item in recipe.conditions)
    most = _most(table, recipe.by, largest=recipe.largest) if recipe.by else ""
    text = rng.choice(_SHORT[recipe.shape]).format(
        where=_place(table),
        there=_place(tables[recipe.other]) if recipe.other else "",
        name=_name(recipe.column),
        by=_name(recipe.by) if recipe.by else "",
        rule=rule,
        most=most,
        which=most or rule,
        more=_more(table, recipe) if recipe.by else "",
        keys=[_quoted(key) for key in recipe.keys],
    )
    return _spaced(text)


def _spaced(text: str) -> str:
    """The text without spaces beside Chinese punctuation, which brings its own."""
    return _SPACES.sub("", text)


def computed_label(recipe: WideRecipe, _tables: Mapping[str, Table]) -> str:
    """The name of the column that a grouping computes."""
    grouping = recipe.grouping
    assert grouping is not None
    return _LABELS[grouping.measure].format(of=grouping.of)


def _place(table: Table) -> str:
    section = f"（{table.section.replace('/', ' / ')}）" if table.section else ""
    return f"“{table.title}”{section}"


def _name(column: str) -> str:
    """A column's name; Latin letters stand apart from the Chinese around them."""
    return f" {column} " if column.isascii() else f"“{column}”"


def _names(columns: Sequence[str]) -> str:
    return "、".join(map(_name, columns))


def _quoted(value: str) -> str:
    return f"“{value}”"


def _most(table: Table, column: str, *, largest: bool) -> str:
    if table.column(column).type is ColumnType.DATE:
        return f"{_name(column)}{'最晚' if largest else '最早'}"
    return f"{_name(column)}{'最大' if largest else '最小'}"


def _more(table: Table, recipe: ShortRecipe) -> str:
    if table.column(recipe.by).type is ColumnType.DATE:
        return "更晚" if recipe.largest else "更早"
    return "更大" if recipe.largest else "更小"


def _condition(item: Condition, table: Table) -> str:
    name = _name(item.column)
    is_date = table.column(item.column).type is ColumnType.DATE
    match item.comparison:
        case Comparison.EQUAL:
            return f"{name}为{_quoted(item.value)}"
        case Comparison.ABOVE:
            return f"{name}{'晚于' if is_date else '大于'} {item.value} "
        case Comparison.BELOW:
            return f"{name}{'早于' if is_date else '小于'} {item.value} "
        case Comparison.BETWEEN:
            return f"{name}在 {item.value} 至 {item.upper} 之间（含两端）"
