"""Messages, tool schemas, tool calls and tool results."""

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation, as plain text.

    Example: `Message(role="user", content="List the moons of Neptune.")`
    """

    role: Role
    content: str
    call_id: str = ""
    """Of a `tool` message: the native tool call it answers; empty if it answers a whole turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as the model sees it, in the OpenAI function format."""

    name: str
    description: str
    parameters: dict[str, JsonValue]
    """JSON schema of the arguments object."""

    def schema(self) -> dict[str, JsonValue]:
        """The `{"type": "function", "function": {...}}` object of chat APIs."""
        function: dict[str, JsonValue] = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call a model wrote."""

    name: str
    arguments: dict[str, JsonValue]
    id: str = ""
    """The identifier that a server gave a native call; empty for calls read from text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedCall:
    """A call that can't be read, with what is wrong with it."""

    problem: str
    """The kind of problem, e.g. `not_json` or `not_closed`."""
    text: str
    """The call as the model wrote it."""
    name: str = ""
    """The tool's name, as far as it can be read."""
    id: str = ""
    """The identifier that a server gave a native call."""


WrittenCall = ToolCall | MalformedCall
"""What a model wrote where a tool call is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What one request of a call gives back to the model, as text.

    A tool that fails is an `ok=False` result whose text says so; it never ends a rollout.
    """

    request: str
    """What was asked for: the query, the URL, the subtask."""
    text: str
    ok: bool = True
    tool: str = ""
    """Name of the tool that was called; empty for a call that could not be read."""
    urls: tuple[str, ...] = ()
    """Addresses of the pages that the text shows."""
    agent: int | None = None
    """Number of the agent that this request created."""
    started_s: float = 0.0
    """Start of the request, in seconds since the episode began."""
    seconds: float = 0.0
    """Duration of the request."""
