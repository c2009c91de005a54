"""The answer of `ask` with the support and the sources of its values, in every form it is shown."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from wideseek_apps.evidence import Evidence, Source, Support, says_nothing, shortened
from wideseek_core import Episode, Finish, Trajectory
from wideseek_core.redaction import printable
from wideseek_core.tables import MarkdownTable, around_table, parse_table
from wideseek_core.text import after_thinking, boxed_answer

MARKS = {Support.PAGE: "", Support.WEAK: " ~", Support.NONE: " ?"}
"""The mark behind a value of the answer."""
NOTES = {
    Support.WEAK: "~ only in a search result, or on an opened page that does not name the row",
    Support.NONE: "? unsupported: in nothing that the agents read",
}
CUT = "! the response was cut off: something may be missing at its end"
TRIMMED = "! the model began to repeat itself: something may be missing at the end"
Form = Literal["table", "markdown", "csv", "json"]
Detail = Literal["pages", "rows", "cells"]
UNBOUNDED = 10_000
"""Columns of what is not shown at a terminal: nothing is wrapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A value of the answer."""

    column: str
    value: str
    support: Support
    source: Source | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """An answer with everything that is shown of it."""

    question: str
    rows: tuple[tuple[Cell, ...], ...]
    """The table; a short answer is one row of one cell. Empty if there is no answer."""
    columns: tuple[str, ...]
    """Empty for a short answer."""
    before: str
    """The agent's text before the table, or why there is no answer."""
    after: str
    cut: bool
    trimmed: bool
    """Whether the model began to repeat itself where the answer ends."""
    finished: bool
    opened: tuple[str, ...]
    """Addresses of all opened pages."""
    agents: Mapping[int, str]
    """Subtasks by the number of the agent."""
    usage: tuple[Mapping[str, str | int | float], ...]

    @property
    def supported(self) -> bool:
        """Whether there is an answer, and every value of it was read by an agent."""
        cells = [cell for row in self.rows for cell in row]
        stated = [cell for row in self.rows for cell in row[1:] or row]
        return (
            self.finished
            and not all(says_nothing(cell.value) for cell in stated)
            and all(cell.support is not Support.NONE for cell in cells)
        )

    @property
    def urls(self) -> tuple[str, ...]:
        """Opened pages, then search results that values come from, in order."""
        cited = [cell.source.url for row in self.rows for cell in row if cell.source is not None]
        return tuple(dict.fromkeys([*self.opened, *cited]))


def view_answer(
    episode: Episode, evidence: Evidence, kind: Literal["table", "text"], question: str = ""
) -> AnswerView:
    """The answer of a rollout, its values looked up in what the agents read."""
    cut = episode.main.cut_text
    answer = episode.answer or cut
    table = parse_table(answer) if kind == "table" else None
    value = boxed_answer(answer) if kind == "text" else ""
    value = "" if says_nothing(value) else value
    rows: tuple[tuple[Cell, ...], ...] = ()
    before, after = _no_answer(episode, kind), ""
    if table is not None and table.rows:
        rows = tuple(tuple(_cells(table.columns, row, evidence)) for row in table.rows)
        before, after = around_table(answer)
    elif value:
        rows, before = ((_cell("", value, "", evidence),),), ""
    return AnswerView(
        question=question,
        rows=rows,
        columns=table.columns if rows and table is not None else (),
        before=before,
        after=after,
        cut=bool(cut and rows),
        trimmed=bool(rows) and _repeated_itself(episode.main, answer),
        finished=not episode.main.status.failed and not episode.error,
        opened=evidence.opened,
        agents={agent.agent: agent.prompt for agent in episode.trajectories},
        usage=tuple(
            {
                "role": spent.role,
                "model": spent.model,
                "requests": spent.requests,
                "prompt_tokens": spent.prompt_tokens,
                "response_tokens": spent.response_tokens,
                "cost": spent.cost,
            }
            for spent in episode.usage
        ),
    )


def _repeated_itself(agent: Trajectory, answer: str) -> bool:
    """Whether the answer is that of a turn whose end was a repetition."""
    last = agent.turns[-1] if agent.turns else None
    return (
        last is not None and last.finish is Finish.TRIMMED and after_thinking(last.text) == answer
    )


def _cells(columns: Sequence[str], row: Sequence[str], evidence: Evidence) -> Iterator[Cell]:
    """The cells of a row; the first one says what the others belong to."""
    for place, (column, value) in enumerate(zip(columns, row, strict=True)):
        yield _cell(column, value, row[0] if place else "", evidence)


def _cell(column: str, value: str, subject: str, evidence: Evidence) -> Cell:
    return Cell(
        column=column,
        value=value,
        support=evidence.support(value, subject),
        source=evidence.source(value, subject),
    )


def _no_answer(episode: Episode, kind: str) -> str:
    status = episode.main.status
    if status.failed:
        return f"No answer: the agent ended with {status}."
    text = episode.answer.strip()
    wanted = "table" if kind == "table" else "short answer"
    return f"No {wanted}. The agent wrote:\n{text}" if text else f"No {wanted}."


def answer_text(view: AnswerView, form: Form, detail: Detail, width: int = UNBOUNDED) -> str:
    """The answer in one of its forms; `width` is that of the terminal."""
    if form == "json":
        return json.dumps(_as_json(view), ensure_ascii=False, indent=1)
    if form == "csv":
        return _as_csv(view)
    if form == "markdown":
        return _as_markdown(view)
    return printable("\n".join(_for_people(view, detail, width)))


def _for_people(view: AnswerView, detail: Detail, width: int) -> Iterator[str]:
    if view.before:
        yield from (view.before, *([""] if view.rows else []))
    if view.columns:
        yield _drawn(view, width)
    elif view.rows:
        yield _marked(view.rows[0][0])
    if view.after:
        yield from ("", view.after)
    found = {cell.support for row in view.rows for cell in row}
    yield from (note for support, note in NOTES.items() if support in found)
    if view.cut:
        yield CUT
    if view.trimmed:
        yield TRIMMED
    if detail != "pages" and (lines := list(_origins(view, detail, width))):
        yield from ("", "Where the values are from", *lines)
    yield from ("", "Sources")
    yield from [f"  {number}. {url}" for number, url in enumerate(view.urls, 1)] or ["  none"]


def _origins(view: AnswerView, detail: Detail, width: int) -> Iterator[str]:
    """The page, the agents and the passage that each row, or each cell, is from."""
    numbers = {url: number for number, url in enumerate(view.urls, 1)}
    for row in view.rows:
        shown: set[str] = set()
        for cell in row[1:] or row:
            if cell.source is None or (detail == "rows" and cell.source.url in shown):
                continue
            shown.add(cell.source.url)
            name = row[0].value
            if detail == "cells" and cell.column and cell is not row[0]:
                name = f"{name}, {cell.column} {cell.value}"
            yield from _origin(f"  {name}:", cell, numbers, width)


def _origin(name: str, cell: Cell, numbers: Mapping[str, int], width: int) -> Iterator[str]:
    """The page, its readers and the passage: in one line if they fit, else in two."""
    source = cell.source
    assert source is not None, "only cells with a source are listed"
    agents = ", ".join(map(str, source.agents))
    readers = f" agent{'s' * (len(source.agents) > 1)} {agents}" if agents else ""
    line = f"{name} [{numbers[source.url]}]{readers}{'' if source.opened else ', search result'}"
    if not source.passage:
        yield _fitted(line, width)
    elif cell_len(whole := f'{line}: "{source.passage}"') <= width:
        yield whole
    else:
        yield _fitted(f"{line}:", width)
        passage = shortened(source.passage, cell.value, width - 6)
        yield _fitted(f'    "{passage}"', width)


def _fitted(line: str, width: int) -> str:
    """The line as far as it fits; characters of two columns count as such."""
    if cell_len(line) <= width:
        return line
    while cell_len(line) >= width:
        line = line[:-1]
    return f"{line}…"


def _drawn(view: AnswerView, width: int) -> str:
    """The table; in a narrow terminal its cells are wrapped, and nothing of them is left out."""
    drawn = RichTable()
    for column in view.columns:
        drawn.add_column(escape(column), overflow="fold")
    for row in view.rows:
        drawn.add_row(*(escape(_marked(cell)) for cell in row))
    natural = Console(file=io.StringIO(), width=UNBOUNDED).measure(drawn).maximum
    drawn.show_lines = natural > width  # parts rows of several lines
    target = io.StringIO()
    Console(file=target, width=width).print(drawn)
    return target.getvalue().rstrip()


def _marked(cell: Cell) -> str:
    return f"{cell.value}{MARKS[cell.support]}"


def _as_markdown(view: AnswerView) -> str:
    if not view.columns:
        return view.rows[0][0].value if view.rows else view.before
    rows = tuple(tuple(cell.value for cell in row) for row in view.rows)
    table = MarkdownTable(columns=view.columns, rows=rows).markdown()
    return "\n\n".join(part for part in (view.before, table, view.after) if part)


def _as_csv(view: AnswerView) -> str:
    target = io.StringIO()
    lines = csv.writer(target, lineterminator="\n")
    if view.columns:
        lines.writerow(view.columns)
    lines.writerows([cell.value for cell in row] for row in view.rows)
    return target.getvalue().rstrip("\n")


def _as_json(view: AnswerView) -> dict[str, object]:
    return {
        "question": view.question,
        "supported": view.supported,
        "cut": view.cut,
        "trimmed": view.trimmed,
        "columns": view.columns,
        "rows": [[_cell_json(cell, view) for cell in row] for row in view.rows],
        "before": view.before,
        "after": view.after,
        "sources": view.urls,
        "usage": view.usage,
    }


def _cell_json(cell: Cell, view: AnswerView) -> dict[str, object]:
    found = cell.source
    source = None
    if found is not None:
        agents = [{"agent": n, "prompt": view.agents.get(n, "")} for n in found.agents]
        source = {
            "url": found.url,
            "passage": found.passage,
            "agents": agents,
            "opened": found.opened,
        }
    return {
        "column": cell.column,
        "value": cell.value,
        "support": cell.support.value,
        "source": source,
    }


def terminal_width() -> int:
    """Columns of the terminal that stdout is; unbounded if it is none."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else UNBOUNDED
