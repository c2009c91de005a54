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


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What one request of a call gives back to the model, as text.

    A tool that fails is an `ok=False` result whose text says so; it never ends a rollout.
    """

    request: str
    """What was asked for: the query, the URL, the subtask."""
    text: str
    ok: bool = True
