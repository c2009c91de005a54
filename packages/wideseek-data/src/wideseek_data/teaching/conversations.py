"""Demonstrations as text: what each agent was shown and wrote, one conversation a line.

The lines have the `messages` of common supervised-training files. Token ids come later, from the
tokenizer of the model that learns.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from wideseek_core import Message, Record
from wideseek_core.files import read_records


class DemonstratedMessage(Record):
    """One message of a demonstration."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Demonstration(Record):
    """The whole conversation of one agent; what the assistant says is to be learnt."""

    agent: Literal["lead", "subagent", "single"]
    task: str
    """Id of the task."""
    source: str = ""
    """Where the task comes from: `wikitables/count`, `invented/top`."""
    messages: tuple[DemonstratedMessage, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.messages[0].role == "assistant" or self.messages[-1].role != "assistant":
            raise ValueError("the first message must be another's, the last the assistant's")
        return self

    def chat(self) -> list[Message]:
        """The messages as agents exchange them."""
        return [Message(role=item.role, content=item.content) for item in self.messages]


def demonstrated(messages: Sequence[Message]) -> tuple[DemonstratedMessage, ...]:
    """Messages as a file keeps them."""
    return tuple(DemonstratedMessage(role=item.role, content=item.content) for item in messages)


def read_demonstrations(path: Path) -> Iterator[Demonstration]:
    """The demonstrations of a file. Raises `DataError` naming file and line."""
    yield from read_records(path, Demonstration)
