"""What the construction of tasks asks for, beside search, pages, a policy and a judge."""

from collections.abc import Sequence
from typing import Protocol

from wideseek_core.messages import Message, ToolSpec
from wideseek_core.tasks import Task


class Answerer(Protocol):
    """Answers tasks without knowing what is right: a team of agents, a model, a person."""

    async def answer(self, task: Task) -> str:
        """The final text. Raises `PolicyError` if no answer can be had."""
        ...


class Teacher(Protocol):
    """Plays agents by a script, to be learnt from."""

    def respond(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        """The next assistant turn of whichever agent has these messages and tools."""
        ...
