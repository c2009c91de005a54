"""The command `ask`: one question, its answer, what supports it, and progress while it works."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from wideseek_agents import AgentEnded, AgentStarted, Event, ToolAnswered
from wideseek_apps.ask_config import AskConfig
from wideseek_apps.evidence import Evidence, Support, says_nothing
from wideseek_apps.team import open_team
from wideseek_core import Episode, TableGold, Task, TextGold
from wideseek_core.errors import PolicyError
from wideseek_core.language import detect_language
from wideseek_core.progress import console
from wideseek_core.tables import MarkdownTable, parse_table
from wideseek_core.text import boxed_answer

MARKS = {Support.PAGE: "", Support.WEAK: " ~", Support.NONE: " ?"}
"""The mark behind a value of the answer."""
NOTES = {
    Support.WEAK: "~ only in a search result, or on an opened page that does not name the row",
    Support.NONE: "? unsupported: in nothing that the agents read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer as it is shown."""

    text: str
    supported: bool
    """Whether there is an answer, and every value of it was read by an agent."""


async def ask(config: AskConfig) -> Answered:
    """Answers the question. Raises `PolicyError` if no model answers."""
    evidence = Evidence()
    async with open_team(config, evidence) as team:
        on_event = None if config.quiet else _show
        episode = await team.run(_task(config), on_event=on_event)
    if episode.error:
        problem = episode.error.removeprefix("PolicyUnavailable: ")
        if not (found := _found(episode)):
            raise PolicyError(problem)
        text = "\n".join([f"No answer: {problem}", "", found, "", *_sources(evidence)])
        return Answered(text=text, supported=False)
    return render(episode, evidence, config.answer)


def _found(episode: Episode) -> str:
    """The reports of the subagents of a rollout whose lead failed."""
    reports = [
        f"{agent.prompt}\n{agent.answer}" for agent in episode.trajectories[1:] if agent.answer
    ]
    return "\n\n".join(["What was found:", *reports]) if reports else ""


def _show(event: Event) -> None:
    if line := describe(event):
        console.print(line, highlight=False, soft_wrap=True)


def describe(event: Event) -> str:
    """One line about an event, as console markup; empty for those not worth one."""
    if isinstance(event, AgentStarted):
        return f"[bold]agent {event.agent}[/] {event.role}: {escape(event.prompt)}"
    if isinstance(event, ToolAnswered):
        mark = "" if event.ok else " [red]failed[/]"
        return f"  agent {event.agent} {event.tool} {escape(event.request)}{mark}"
    if isinstance(event, AgentEnded):
        return f"[bold]agent {event.agent}[/] {event.status}"
    return ""


def _task(config: AskConfig) -> Task:
    """The question; what would be right is unknown, and nothing is scored."""
    gold = (
        TableGold(text="", key_columns=(), required_columns=())
        if config.answer == "table"
        else TextGold(answers=("",))
    )
    return Task(
        id="question",
        question=config.question,
        language=config.language or detect_language(config.question),
        gold=gold,
    )


def render(episode: Episode, evidence: Evidence, kind: Literal["table", "text"]) -> Answered:
    """The answer as a terminal shows it, its marks explained, and the pages that were opened."""
    cut = episode.main.cut_text
    answer = episode.answer or cut
    table = parse_table(answer) if kind == "table" else None
    value = _stated(boxed_answer(answer)) if kind == "text" else ""
    if table is not None and table.rows:
        body, found = _drawn(table, evidence), _supports(table, evidence)
    elif value:
        support = evidence.support(value)
        body, found = f"{value}{MARKS[support]}", {support}
    else:
        body, found = _no_answer(episode, kind), {Support.NONE}
    notes = [note for support, note in NOTES.items() if support in found and (table or value)]
    if cut and (table or value):
        notes.append("! the response was cut off: something may be missing at its end")
    lines = [body, *notes, "", *_sources(evidence)]
    answered = not episode.main.status.failed and (table is None or _states_something(table))
    return Answered(text="\n".join(lines), supported=answered and Support.NONE not in found)


def _stated(value: str) -> str:
    """The value, unless it says that there is none."""
    return "" if says_nothing(value) else value


def _sources(evidence: Evidence) -> list[str]:
    listed = [f"  {number}. {url}" for number, url in enumerate(evidence.pages, 1)]
    return ["Sources", *(listed or ["  none"])]


def _no_answer(episode: Episode, kind: str) -> str:
    status = episode.main.status
    if status.failed:
        return f"No answer: the agent ended with {status}."
    text = episode.answer.strip()
    wanted = "table" if kind == "table" else "short answer"
    return f"No {wanted}. The agent wrote:\n{text}" if text else f"No {wanted}."


def _supports(table: MarkdownTable, evidence: Evidence) -> set[Support]:
    return {support for row in table.rows for support in _row_support(row, evidence)}


def _states_something(table: MarkdownTable) -> bool:
    """Whether the table has more to say than its keys."""
    cells = [cell for row in table.rows for cell in row[1:]]
    return not cells or not all(map(says_nothing, cells))


def _row_support(row: Sequence[str], evidence: Evidence) -> Iterator[Support]:
    """The support of each cell; the first one says what the others belong to."""
    for place, cell in enumerate(row):
        yield evidence.support(cell, row[0] if place else "")


def _drawn(table: MarkdownTable, evidence: Evidence) -> str:
    target = io.StringIO()
    drawn = RichTable(*map(escape, table.columns))
    for row in table.rows:
        drawn.add_row(*_marked(row, evidence))
    Console(file=target, width=console.width).print(drawn)
    return target.getvalue().rstrip()


def _marked(row: Sequence[str], evidence: Evidence) -> Iterator[str]:
    for cell, support in zip(row, _row_support(row, evidence), strict=True):
        yield escape(f"{cell}{MARKS[support]}")
