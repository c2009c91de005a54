"""What is said after the system prompt, whichever the tools."""

from dataclasses import dataclass, fields
from pathlib import Path

from wideseek_core import ConfigError
from wideseek_core.config import read_yaml
from wideseek_core.templates import Template, placeholders


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """The messages of a prompt set in one language."""

    question: Template
    """First message of the agent that answers the user."""
    subtask: Template
    """First message of a subagent."""
    exchange: Template
    """An earlier question of the same session, and its answer."""
    follow_up: Template
    """A question that comes after earlier exchanges."""
    first_turn: Template
    next_turn: Template
    last_turn: Template
    tool_message: Template
    """All results of a turn, and the hint on turns."""
    separator: str
    """Stands between results, and between the parts of one."""
    tool_error: Template
    """A tool that failed."""
    table_format: Template
    """How to answer with a table; fills `{{format}}` of a system prompt."""
    text_format: Template
    """How to answer with a short text."""
    not_json: Template
    """A call that is not valid in the format of tool calls."""
    not_closed: Template
    """A call whose closing tag is missing."""
    no_name: Template
    """A call that names no tool."""
    unknown_tool: Template
    """A call of a tool that is not there."""
    bad_arguments: Template
    """A call whose arguments can't be read."""
    bad_requests: Template
    """A call of which some requests are not valid."""
    surplus: Template
    """Requests over a limit."""
    budget_calls: Template
    """Requests over what is left of the rollout's budget."""
    audit: Template
    """Sends a draft table back with its gaps."""
    gap_empty: Template
    gap_duplicate: Template
    gap_unsupported: Template
    budget_spent: Template
    """The budget of the rollout is spent: an answer is due."""

    def hint(self, turn: int, turns: int) -> str:
        """Which turn comes next (from 1) and how many there are."""
        template = self.next_turn
        if turn == turns:
            template = self.last_turn
        elif turn == 1:
            template = self.first_turn
        return template.fill(turn=turn, turns=turns, left=turns - turn + 1)


_TURN = placeholders("", "turn turns left")
_GAP = placeholders("", "row column value")
_PROBLEM = placeholders("", "name tools usage count per_call per_turn")
_EXPECTED = {
    "question": placeholders("question", "hint"),
    "subtask": placeholders("subtask", "question hint"),
    "exchange": placeholders("question answer"),
    "follow_up": placeholders("question earlier"),
    "first_turn": _TURN,
    "next_turn": _TURN,
    "last_turn": _TURN,
    "tool_message": placeholders("results", "hint"),
    "separator": placeholders(),
    "tool_error": placeholders("error", "request"),
    "table_format": placeholders(),
    "text_format": placeholders(),
    "not_json": _PROBLEM,
    "not_closed": _PROBLEM,
    "no_name": _PROBLEM,
    "unknown_tool": _PROBLEM,
    "bad_arguments": _PROBLEM,
    "bad_requests": _PROBLEM,
    "surplus": _PROBLEM,
    "budget_calls": _PROBLEM,
    "audit": placeholders("gaps", "hint"),
    "gap_empty": _GAP,
    "gap_duplicate": _GAP,
    "gap_unsupported": _GAP,
    "budget_spent": placeholders(),
}


def read_messages(file: Path) -> Messages:
    """The messages in a YAML file. Raises `ConfigError` naming file, message and placeholder."""
    raw = read_yaml(file)
    names = [field.name for field in fields(Messages)]
    for name in raw:
        if name not in names:
            raise ConfigError(f"{file}: unknown message {name!r}")
    values: dict[str, Template | str] = {}
    for name in names:
        text: object = raw.get(name)
        if not isinstance(text, str):
            raise ConfigError(f"{file}: the message {name!r} is missing or no text")
        template = Template(text)
        template.check(f"{file}: {name}", _EXPECTED[name])
        values[name] = text if name == "separator" else template
    return Messages(**values)  # pyright: ignore[reportArgumentType]
