"""The prompts, kept as files beside the code, and the version that their text gives them."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from string import Template
from typing import Literal

from wideseek_core import Message

PromptName = Literal["table", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt file."""

    text: str
    version: str
    """Changes whenever the text does, so that verdicts of an older text are not reused."""

    def fill(self, **values: object) -> list[Message]:
        """The prompt as messages; each value is put in as JSON, so it can't pose as prompt."""
        filled = {name: to_json(value) for name, value in values.items()}
        return [Message(role="user", content=Template(self.text).substitute(filled))]


def to_json(value: object) -> str:
    """JSON with readable letters, one line per entry of a mapping or list."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, indent=0)
    return json.dumps(value, ensure_ascii=False)


@lru_cache
def prompt(name: PromptName) -> Prompt:
    """The prompt of that name."""
    text = (resources.files("wideseek_judge.llm") / "templates" / f"{name}.md").read_text("utf-8")
    return Prompt(text=text, version=hashlib.sha256(text.encode()).hexdigest()[:12])
