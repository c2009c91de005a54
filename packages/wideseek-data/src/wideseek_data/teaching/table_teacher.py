"""A scripted agent that answers planned tasks by honest search and reading.

It plays lead, subagent and single agent through the real loop and tools. What it writes rests on
what the conversation shows: a fact that no opened page states is `unknown`, and a question whose
facts can't be found is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wideseek_core import Message, ToolSpec
from wideseek_core.tables import MarkdownTable
from wideseek_data.tables.table import Table
from wideseek_data.tables.values import is_missing
from wideseek_data.tasks.apply import GAP, NoAnswer, matching, short_answer, wide_rows
from wideseek_data.tasks.recipes import PlannedTask, ShortRecipe, ShortShape, WideRecipe
from wideseek_data.teaching.acting import (
    UNKNOWN,
    Seen,
    access,
    can_delegate,
    delegate,
    parent,
    quoted,
    search,
    takes_many,
)
from wideseek_data.teaching.subtasks import Facts, KeyList, Stage, batches, stages

REFUSAL = "No page that search finds states this."
"""What is said of questions that can't be answered from the pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherLimits:
    """How the teacher splits work; within the limits of the team."""

    subagents_per_turn: int = 10
    rows_per_subagent: int = 4


class TableTeacher:
    """Answers the questions of its plans. `respond` fits a scripted policy."""

    def __init__(
        self,
        plans: Sequence[PlannedTask],
        tables: Mapping[str, Table],
        limits: TeacherLimits | None = None,
    ) -> None:
        self._plans = {plan.task.question: plan for plan in plans}
        self._tables = tables
        self._limits = limits or TeacherLimits()

    def respond(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        """The next assistant turn of whichever agent speaks."""
        user = next(item.content for item in messages if item.role == "user")
        plan = self._plan(user)
        seen = Seen.of(messages)
        needed = stages(plan, self._tables)
        if can_delegate(tools):
            return self._lead(plan, needed, seen)
        many = takes_many(tools)
        lines = user.splitlines()
        for stage in needed:
            listing = KeyList(table=stage.table)
            if any(line.endswith(listing.prompt) for line in lines):
                return _list_turn(listing, seen, many=many) or _list_report(stage, seen)
            for facts in self._facts(stage):
                if any(line.endswith(facts.prompt) for line in lines):
                    return _facts_turn(facts, seen, many=many) or _facts_report(facts, seen)
        return self._single(plan, needed, seen)

    def _plan(self, user: str) -> PlannedTask:
        found = [plan for question, plan in self._plans.items() if question in user]
        return max(found, key=lambda plan: len(plan.task.question))

    def _facts(self, stage: Stage) -> list[Facts]:
        rows = batches(stage.rows, self._limits.rows_per_subagent)
        return [Facts(table=stage.table, rows=some, columns=stage.columns) for some in rows]

    def _lead(self, plan: PlannedTask, needed: Sequence[Stage], seen: Seen) -> str:
        for stage in needed:
            listing = KeyList(table=stage.table)
            if stage.lists_keys or stage.is_one_page:
                if not _asked(listing.prompt, seen):
                    return delegate([listing.prompt])
                if not any(_named(stage.table, row, seen) for row in stage.rows):
                    return _refusal(plan)
            if stage.is_one_page or not stage.columns:
                continue
            wanted = [
                facts.prompt
                for facts in self._facts(stage)
                if not _asked(facts.prompt, seen)
                and (
                    not stage.lists_keys
                    or any(_named(stage.table, row, seen) for row in facts.rows)
                )
            ]
            if wanted:
                return delegate(wanted[: self._limits.subagents_per_turn])
        return _conclusion(plan, needed, self._tables, seen)

    def _single(self, plan: PlannedTask, needed: Sequence[Stage], seen: Seen) -> str:
        for stage in needed:
            if stage.lists_keys or stage.is_one_page:
                turn = _list_turn(KeyList(table=stage.table), seen, many=False)
                if turn:
                    return turn
                if not seen.has_opened(stage.table.url):
                    return _refusal(plan)
            if stage.is_one_page or not stage.columns:
                continue
            for row in stage.rows:
                facts = Facts(table=stage.table, rows=(row,), columns=stage.columns)
                turn = _facts_turn(facts, seen, many=False)
                if turn:
                    return turn
        return _conclusion(plan, needed, self._tables, seen)


def _asked(prompt: str, seen: Seen) -> bool:
    return quoted(prompt) in seen.said


def _list_turn(listing: KeyList, seen: Seen, *, many: bool) -> str:
    """The next call that brings the list, or nothing if it is there or can't be had."""
    url = listing.table.url
    if seen.has_opened(url):
        return ""
    rows = listing.table.rows
    if seen.lists(url) or any(parent(row.url) == url and seen.lists(row.url) for row in rows):
        return access([url], many=many)
    for query in listing.queries:
        if not seen.searched(query):
            return search([query], many=many)
    return ""


def _list_report(stage: Stage, seen: Seen) -> str:
    """The keys; of a table that stands on one page, the facts too."""
    table = stage.table
    if not seen.has_opened(table.url):
        return UNKNOWN  # no page that lists them was found
    rows = [row for row in range(len(table.rows)) if table.cell(row, table.key) in seen.shown]
    if stage.is_one_page and stage.columns:
        facts = Facts(table=table, rows=tuple(rows), columns=stage.columns)
        return _facts_report(facts, seen)
    return "; ".join(table.cell(row, table.key) for row in rows) or UNKNOWN


def _facts_turn(facts: Facts, seen: Seen, *, many: bool) -> str:
    """The next call that brings a missing fact, or nothing if all is there or can't be had."""
    missing = [row for row in facts.rows if not seen.has_opened(facts.table.rows[row].url)]
    found = [facts.table.rows[row].url for row in missing if seen.lists(facts.table.rows[row].url)]
    if found:
        return access(found, many=many)
    for attempt in (0, 1):
        queries = [facts.query(row, attempt) for row in missing]
        queries = [query for query in queries if not seen.searched(query)]
        if queries:
            return search(queries, many=many)
    return ""


def _facts_report(facts: Facts, seen: Seen) -> str:
    return "\n".join(_fact_line(facts, row, seen) for row in facts.rows)


def _fact_line(facts: Facts, row: int, seen: Seen) -> str:
    """What the opened page of a row states, as `KEY: COLUMN: cell; COLUMN: cell`."""
    opened = seen.has_opened(facts.table.rows[row].url)
    cells: list[str] = []
    for name in facts.columns:
        cell = facts.table.cell(row, name)
        if opened and (is_missing(cell) or cell in seen.shown):
            cells.append(f"{name}: {GAP if is_missing(cell) else cell}")
        else:
            cells.append(f"{name}: {UNKNOWN}")
    return f"{facts.key(row)}: {'; '.join(cells)}"


def _named(table: Table, row: int, seen: Seen) -> bool:
    return table.cell(row, table.key) in seen.shown


def _known(stage: Stage, seen: Seen, *, by_report: bool) -> Table:
    """The part of a table that the conversation states; other cells are missing."""
    table = stage.table
    rows = list(table.rows)
    for at in stage.rows:
        if by_report and not stage.columns:
            line_known = _named(table, at, seen)
            cells = rows[at].cells if line_known else tuple("" for _ in table.names)
        else:
            cells = tuple(
                cell
                if name == table.key or _states(stage, at, name, seen, by_report=by_report)
                else ""
                for name, cell in zip(table.names, rows[at].cells, strict=True)
            )
        rows[at] = rows[at].model_copy(update={"cells": cells})
    return table.model_copy(update={"rows": tuple(rows)})


def _states(stage: Stage, row: int, name: str, seen: Seen, *, by_report: bool) -> bool:
    """Whether a cell is stated: by a report's line, or by a page that the agent has opened."""
    if name not in stage.columns:
        return False
    facts = Facts(table=stage.table, rows=(row,), columns=stage.columns)
    cell = stage.table.cell(row, name)
    if not by_report:
        return seen.has_opened(stage.table.rows[row].url) and (
            is_missing(cell) or cell in seen.shown
        )
    start = f"{facts.key(row)}: "
    stated = f"{name}: {GAP if is_missing(cell) else cell}"
    return any(line.startswith(start) and stated in line for line in seen.shown.splitlines())


def _refusal(plan: PlannedTask) -> str:
    if isinstance(plan.recipe, ShortRecipe):
        return f"{REFUSAL}\n\\boxed{{{UNKNOWN}}}"
    return REFUSAL


def _conclusion(
    plan: PlannedTask, needed: Sequence[Stage], tables: Mapping[str, Table], seen: Seen
) -> str:
    """The answer that follows from what is known."""
    by_report = '"create_sub_agents"' in seen.said
    known = dict(tables) | {
        stage.table.id: _known(stage, seen, by_report=by_report) for stage in needed
    }
    recipe = plan.recipe
    try:
        if isinstance(recipe, WideRecipe):
            return _table(recipe, known) or REFUSAL
        return _boxed(recipe, known, complete=_is_complete(needed, known))
    except NoAnswer:
        return _refusal(plan)


def _is_complete(needed: Sequence[Stage], known: Mapping[str, Table]) -> bool:
    """Whether every needed cell is known."""
    return all(
        is_missing(stage.table.cell(row, name)) or known[stage.table.id].cell(row, name)
        for stage in needed
        for row in stage.rows
        for name in stage.columns
    )


def _table(recipe: WideRecipe, known: Mapping[str, Table]) -> str:
    rows = wide_rows(recipe, known)
    if not rows:
        return ""
    text = MarkdownTable(columns=recipe.labels, rows=tuple(rows)).markdown()
    return f"```markdown\n{text}\n```"


def _boxed(recipe: ShortRecipe, known: Mapping[str, Table], *, complete: bool) -> str:
    """The working and the answer; refused where a fact that it depends on is not known."""
    if not complete:
        raise NoAnswer("facts that are not known")
    answer = short_answer(recipe, known)
    working = _working(recipe, known[recipe.table], answer)
    return f"{working}\n\\boxed{{{answer}}}" if working else f"\\boxed{{{answer}}}"


def _working(recipe: ShortRecipe, table: Table, answer: str) -> str:
    """How the answer follows, where it is computed."""
    rows = matching(recipe, table)
    keys = [table.cell(row, table.key) for row in rows]
    match recipe.shape:
        case ShortShape.COUNT:
            return "\n".join(f"{number}. {key}" for number, key in enumerate(keys, 1))
        case ShortShape.SUM:
            return f"{' + '.join(table.cell(row, recipe.column) for row in rows)} = {answer}"
        case ShortShape.DIFFERENCE | ShortShape.COMPARE:
            by = recipe.by or recipe.column
            return "; ".join(
                f"{key}: {table.cell(row, by)}"
                for key in recipe.keys
                if (row := table.row_of(key)) is not None
            )
        case _:
            return ""
