"""The prompts: files beside the code, filled with data that can't pose as instructions."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from string import Template
from typing import Literal

from wideseek_core import Message
from wideseek_core.text import without_control_tokens

PromptName = Literal["table", "answer"]
_AGAIN = "\nAn earlier reply could not be read. Reply with the one JSON object and nothing else."


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt file."""

    text: str
    version: str
    """Changes whenever the text does, so that verdicts of an older text are not reused."""

    def fill(self, *, again: bool = False, **values: object) -> list[Message]:
        """The prompt as messages, with each value as JSON between two lines of a fence.

        The fence is made from the values, so that no value can hold it. `again` adds a reminder of
        the form of the reply.
        """
        filled = {name: without_control_tokens(to_json(value)) for name, value in values.items()}
        fence = hashlib.sha256(json.dumps(filled).encode()).hexdigest()[:16]
        content = Template(self.text).substitute(filled, fence=fence)
        return [Message(role="user", content=content + _AGAIN if again else content)]


def to_json(value: object) -> str:
    """JSON with readable characters, one line per entry of a mapping or list."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, indent=0)
    return json.dumps(value, ensure_ascii=False)


@lru_cache
def prompt(name: PromptName) -> Prompt:
    """The prompt of that name."""
    path = resources.files("wideseek_judge.llm") / "templates" / f"{name}.md"
    text = path.read_text("utf-8")
    return Prompt(text=text, version=hashlib.sha256(text.encode()).hexdigest()[:12])
