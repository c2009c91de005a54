"""The ask app: one question, answered with a table, its sources, and progress while it works."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from wideseek_agents import (
    AgentEnded,
    AgentStarted,
    Event,
    ToolAnswered,
    TurnTaken,
    boxed_answer,
)
from wideseek_apps.evaluation import TeamsConfig, open_team
from wideseek_apps.policy import LocalPolicy, PolicyConfig
from wideseek_core import Episode, Language, TableGold, Task, TextGold
from wideseek_core.errors import ConfigError, PolicyError
from wideseek_core.progress import console
from wideseek_core.tables import parse_table


class AskConfig(TeamsConfig):
    """Everything about one question."""

    question: str = Field(default="", max_length=20_000)
    """What is asked; on the command line, all words that are neither a file nor `key=value`."""
    answer: Literal["table", "text"] = "table"
    language: Language = "en"
    quiet: bool = False
    """No progress."""
    # One question keeps one core busy: more processes would only take their time to start.
    policy: PolicyConfig = LocalPolicy(temperature=0.0, processes=0)


@dataclass(slots=True)
class Watcher:
    """Tells on stderr what the agents do, and remembers the sources they opened."""

    quiet: bool
    sources: dict[str, None] = field(default_factory=dict[str, None])

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, ToolAnswered) and event.tool == "access" and event.ok:
            self.sources[event.request] = None
        if not self.quiet and (line := describe(event)):
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
    assert isinstance(event, TurnTaken)
    return ""


async def ask(config: AskConfig) -> str:
    """Answers the question. Raises `ConfigError` without one, `PolicyError` if no model answers."""
    if not config.question.strip():
        raise ConfigError('ask a question: uv run apps/ask "List the ..."')
    watcher = Watcher(config.quiet)
    async with open_team(config) as team:
        episode = await team.run(_task(config), on_event=watcher)
    if episode.error:
        raise PolicyError(episode.error.removeprefix("PolicyUnavailable: "))
    return render(episode, tuple(watcher.sources), config.answer)


def _task(config: AskConfig) -> Task:
    """The question; what would be right is unknown, and nothing is scored."""
    gold = (
        TableGold(text="", key_columns=(), required_columns=())
        if config.answer == "table"
        else TextGold(answers=("",))
    )
    return Task(id="question", question=config.question, language=config.language, gold=gold)


def render(episode: Episode, sources: Sequence[str], kind: str) -> str:
    """The answer as a terminal shows it, and the pages that were read."""
    if kind == "table" and (found := parse_table(episode.answer)) is not None:
        body = _drawn(found.columns, found.rows)
    elif kind == "text" and (boxed := boxed_answer(episode.answer)):
        body = boxed
    else:
        ending = episode.main.status
        body = episode.answer or f"No answer: the agent ended with {ending}."
    listed = "\n".join(f"  {number}. {url}" for number, url in enumerate(sources, 1))
    return f"{body}\n\nSources\n{listed or '  none'}"


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = RichTable(*map(escape, columns))
    for row in rows:
        table.add_row(*map(escape, row))
    target = io.StringIO()
    Console(file=target, width=console.width).print(table)
    return target.getvalue().rstrip()
