"""A stub model that reads the prompts and answers by a rule given as a function."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wideseek_core import Message

Rule = Callable[[str, str], bool]


class StubChat:
    """Answers cell, key and answer prompts by asking a rule about each pair."""

    def __init__(self, rule: Rule, replies: Sequence[str] = ()) -> None:
        self.rule = rule
        self.replies = list(replies)
        self.prompts: list[str] = []

    async def __call__(self, messages: Sequence[Message]) -> str:
        prompt = messages[0].content
        self.prompts.append(prompt)
        return self.replies.pop(0) if self.replies else self.answer(prompt)

    def answer(self, prompt: str) -> str:
        if "Items, as JSON:" in prompt:
            return json.dumps(self.cells(after(prompt, "Items, as JSON:")))
        if "Values, as JSON:" in prompt:
            values = after(prompt, "Values, as JSON:")
            references = after(prompt, "References, as JSON:")
            return json.dumps(self.keys(values, references))
        answer = after(prompt, "Answer, as JSON:")
        references = after(prompt, "References, as JSON:")
        return json.dumps({"correct": int(any(self.rule(answer, each) for each in references))})

    def cells(self, groups: list[dict[str, Any]]) -> dict[str, int]:
        return {
            number: int(self.rule(item["answer"], item["reference"]))
            for group in groups
            for number, item in group["items"].items()
        }

    def keys(self, values: dict[str, str], references: dict[str, str]) -> dict[str, int]:
        return {
            number: next((int(at) for at, ref in references.items() if self.rule(value, ref)), 0)
            for number, value in values.items()
        }


def after(prompt: str, mark: str) -> Any:
    start = prompt.index(mark) + len(mark)
    text = prompt[start:].lstrip()
    return json.JSONDecoder().raw_decode(text)[0]


@pytest.fixture
def stub() -> type[StubChat]:
    return StubChat
