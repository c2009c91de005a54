"""What a format of tool calls offers to the agent loop."""

from collections.abc import Sequence
from typing import Protocol

from wideseek_core import ToolCall, WrittenCall


class ToolCallParser(Protocol):
    """Reads and writes tool calls in the text of a response."""

    @property
    def instructions(self) -> str:
        """The part of a system prompt that explains the format, with `{{tools}}` for the tools.

        Empty for the format that prompt sets explain themselves.
        """
        ...

    def parse(self, text: str) -> Sequence[WrittenCall]:
        """The calls in a response without its thinking, in order; never raises."""
        ...

    def write(self, call: ToolCall) -> str:
        """A call as a model should write it."""
        ...
