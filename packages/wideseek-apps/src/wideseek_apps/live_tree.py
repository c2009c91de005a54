"""What the agents of a rollout are doing: a live tree at a terminal, lines of text elsewhere."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from wideseek_agents import AgentEnded, AgentStarted, Event, OnEvent, ToolAnswered, TurnTaken
from wideseek_core.counting import counted, name_of
from wideseek_core.progress import console
from wideseek_core.redaction import printable
from wideseek_core.text import one_line

_RESERVED_LINES = 3
"""Lines of a terminal that are left free around the tree."""


@dataclass(slots=True, kw_only=True)
class AgentState:
    """What is known of one agent from its events."""

    role: str
    prompt: str
    parent: int | None
    state: str = "thinking"
    turn: int = 0
    turns: int = 0
    waiting: int = 0
    """Requests to tools that are not answered yet."""
    requests: int = 0
    """Requests to tools that are answered."""
    failed: int = 0
    tokens: int = 0
    cost: float = 0.0
    answer: str = ""
    ended: bool = False


@dataclass(slots=True)
class Agents:
    """The agents of a rollout, kept up to date by their events."""

    question: str = ""
    """What is shown of the agent that answers, whose prompt may hold earlier questions, too."""
    states: dict[int, AgentState] = field(default_factory=dict[int, AgentState])
    started: float = field(default_factory=time.monotonic)

    def take(self, event: Event) -> None:
        """Brings the state of an agent up to date."""
        if isinstance(event, AgentStarted):
            prompt = event.prompt if event.parent is not None else self.question or event.prompt
            self.states[event.agent] = AgentState(
                role=event.role, prompt=one_line(prompt), parent=event.parent
            )
            return
        state = self.states[event.agent]
        if isinstance(event, TurnTaken):
            state.turn, state.turns = event.turn, event.turns
            state.waiting = event.requests
            state.tokens += event.prompt_tokens + event.response_tokens
            state.cost += event.cost
            state.state = "waiting" if event.requests else "thinking"
        elif isinstance(event, ToolAnswered):
            state.waiting -= 1
            state.requests += 1
            state.failed += not event.ok
            state.state = event.tool if state.waiting else "thinking"
        else:
            state.state, state.ended = str(event.status), True
            state.answer = event.answer

    def reports(self) -> list[tuple[str, str]]:
        """Subtasks and reports of the subagents that have ended with one, equal ones once."""
        found = [
            (state.prompt, state.answer)
            for state in self.states.values()
            if state.parent is not None and state.answer
        ]
        return list(dict.fromkeys(found))

    def lines(self, height: int) -> Iterator[Text]:
        """The tree in at most `height` lines; agents that have ended give way to running ones."""
        others = [(n, s) for n, s in self.states.items() if s.parent is not None]
        for number, state in self.states.items():
            if state.parent is None:
                yield _line(number, state, "")
        room = max(1, height - 2)
        shown = others
        if len(others) > room:
            running = [item for item in others if not item[1].ended]
            shown = sorted([*running, *(i for i in reversed(others) if i[1].ended)][: room - 1])
        for place, (number, state) in enumerate(shown):
            last = place == len(shown) - 1 and len(shown) == len(others)
            yield _line(number, state, "└─ " if last else "├─ ")
        if hidden := len(others) - len(shown):
            yield Text(f"└─ {counted(hidden, 'more subagent')}", style="dim")
        yield self._total()

    def _total(self) -> Text:
        states = self.states.values()
        parts = [
            f"{time.monotonic() - self.started:.0f} s",
            f"{sum(s.ended for s in states)} of {counted(len(states), 'agent')} ended",
            counted(sum(s.requests for s in states), "request"),
            _tokens(sum(s.tokens for s in states)),
        ]
        if cost := sum(s.cost for s in states):
            parts.append(f"cost {cost:.4f}")
        return Text(", ".join(parts), style="dim")


def _line(number: int, state: AgentState, branch: str) -> Text:
    style = "green" if state.state == "finished" else "red" if state.ended else "cyan"
    line = Text(branch, style="dim", no_wrap=True, overflow="ellipsis")
    line.append(f"agent {number} {state.role}", style="bold")
    line.append(f" {state.state}", style=style)
    facts = [f"turn {state.turn}/{state.turns}"] if state.turns else []
    if state.requests or state.waiting:
        waiting = f"/{state.requests + state.waiting}" if state.waiting > 0 else ""
        failed = f" ({state.failed} failed)" if state.failed else ""
        requests = name_of(state.requests + max(state.waiting, 0), "request")
        facts.append(f"{state.requests}{waiting} {requests}{failed}")
    if state.tokens:
        facts.append(_tokens(state.tokens))
    if state.cost:
        facts.append(f"cost {state.cost:.4f}")
    line.append(f" {', '.join(facts)}" if facts else "", style="dim")
    line.append(f"  {printable(state.prompt)}")
    return line


def _short(count: int) -> str:
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:,.0f}k" if count < 10_000_000 else f"{count / 1e6:,.0f}M"


def _tokens(count: int) -> str:
    return f"{_short(count)} {name_of(count, 'token')}"


@contextmanager
def watching(agents: Agents, *, quiet: bool = False) -> Generator[OnEvent]:
    """Shows what happens while it is entered: nothing if `quiet`, on stderr otherwise."""
    if quiet:
        yield agents.take
    elif not console.is_terminal:

        def show(event: Event) -> None:
            agents.take(event)
            if line := describe(event):
                console.print(line, highlight=False, soft_wrap=True)

        yield show
    else:

        def draw() -> Group:
            return Group(*agents.lines(console.size.height - _RESERVED_LINES))

        with Live(get_renderable=draw, console=console, refresh_per_second=8):
            yield agents.take


def describe(event: Event) -> str:
    """One line about an event, as console markup; empty for those not worth one."""
    if isinstance(event, AgentStarted):
        return f"[bold]agent {event.agent}[/] {event.role}: {_plain(event.prompt)}"
    if isinstance(event, ToolAnswered):
        mark = "" if event.ok else " [red]failed[/]"
        return f"  agent {event.agent} {event.tool} {_plain(event.request)}{mark}"
    if isinstance(event, AgentEnded):
        return f"[bold]agent {event.agent}[/] {event.status}"
    return ""


def _plain(text: str) -> str:
    return escape(one_line(printable(text)))
