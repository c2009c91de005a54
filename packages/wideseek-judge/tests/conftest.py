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
        if "Groups, as JSON:" in prompt:
            groups = after(prompt, "Groups, as JSON:")
            return json.dumps({k: v for group in groups for k, v in self.group(group).items()})
        answer = after(prompt, "Answer, as JSON:")
        references = after(prompt, "References, as JSON:")
        return json.dumps({"correct": int(any(self.rule(answer, each) for each in references))})

    def group(self, group: dict[str, Any]) -> dict[str, int]:
        if "items" in group:
            items = group["items"].items()
            return {at: int(self.rule(item["answer"], item["reference"])) for at, item in items}
        references = group["references"].items()
        return {
            at: next((int(number) for number, ref in references if self.rule(value, ref)), 0)
            for at, value in group["values"].items()
        }


def after(prompt: str, mark: str) -> Any:
    start = prompt.index(mark) + len(mark)
    text = prompt[start:].lstrip()
    return json.JSONDecoder().raw_decode(text)[0]


@pytest.fixture
def stub() -> type[StubChat]:
    return StubChat
