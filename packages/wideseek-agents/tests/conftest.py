"""A tokenizer made on the spot, a tiny world to search, and scripts that play models."""

import asyncio
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from wideseek_agents import ChatTokenizer, ScriptedPolicy, TeamConfig
from wideseek_agents.tokens import END, START, TAGS
from wideseek_core import (
    Conversation,
    Document,
    Message,
    NoContent,
    Page,
    PolicyUnavailable,
    Reply,
    TableGold,
    Task,
    ToolSpec,
)

# The other renderer is a tool of the workspace's development, not of this package's.
collect_ignore = [] if find_spec("renderers") else ["test_renderer_oracle.py"]

# A busy machine is no failure.
settings.register_profile(
    "wideseek", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("wideseek")

TRITON = "https://moons.example/triton"
Script = Callable[[Sequence[Message], Sequence[ToolSpec]], str]
COMPACT = TeamConfig(prompts="compact")
SINGLE = TeamConfig(prompts="compact", workflow="single_agent")

TEXTS = (
    "user assistant system tool Question: Which moons has Neptune? Triton and Nereid.",
    '{"name": "search", "arguments": {"queries": [{"query": "moons of Neptune"}]}}',
    "Turn 1 of 4. | Moon | Radius |\n| --- | --- |\n| Triton | 1353 |\n<think> tool_call im_start",
)


def byte_level(tags: tuple[str, ...] = TAGS) -> Tokenizer:
    """A byte-level BPE like Qwen3's: marks are special, tags are added but not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    marks = [AddedToken(mark, special=True) for mark in (START, END, "<|endoftext|>")]
    plain = [AddedToken(tag, special=False, normalized=False) for tag in tags]
    tokenizer.add_special_tokens(marks)  # pyright: ignore[reportUnknownMemberType]
    tokenizer.add_tokens(plain)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def whole_words() -> Tokenizer:
    """Looks whole words up, so that even the vocabulary itself holds the control strings."""
    words = [START, END, *TAGS, "user", "assistant", "moon", "[UNK]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer(byte_level())


class World:
    """Two pages about moons."""

    PAGES = {
        "https://moons.example/triton": "Triton has a radius of 1353 km.",
        "https://moons.example/nereid": "Nereid has a radius of 170 km.",
    }

    def __init__(self) -> None:
        self.queries: list[tuple[str, int]] = []

    async def search(self, query: str, k: int) -> list[Document]:
        self.queries.append((query, k))
        found = [(url, text) for url, text in self.PAGES.items() if query.lower() in text.lower()]
        return [Document(url=url, title=text.split()[0], text=text) for url, text in found[:k]]

    async def read(self, url: str) -> Page:
        if url not in self.PAGES:
            raise NoContent(f"no page {url!r}")
        return Page(url=url, text=self.PAGES[url])


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def task() -> Task:
    gold = TableGold(text="", key_columns=("Moon",), required_columns=("Moon", "Radius"))
    return Task(id="moons", question="List Neptune's moons with their radius.", gold=gold)


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def delegate(*subtasks: str) -> str:
    return call("create_sub_agents", sub_agents=[{"prompt": subtask} for subtask in subtasks])


def turns(*texts: str) -> Script:
    """Says the texts turn by turn."""
    return lambda messages, tools: texts[sum(m.role == "assistant" for m in messages)]


def roles(lead: Script, subagent: Script) -> Script:
    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        chosen = lead if tools[0].name == "create_sub_agents" else subagent
        return chosen(messages, tools)

    return respond


def of_a_hanging_subtask(message: Message) -> bool:
    return message.role == "user" and "Subtask: hang" in message.content


class Watched:
    """A policy that counts the conversations it has open, and never answers some messages."""

    def __init__(
        self,
        respond: Script,
        fail: Callable[[str], bool] = lambda _: False,
        hang: Callable[[Message], bool] = of_a_hanging_subtask,
    ) -> None:
        self._inner = ScriptedPolicy(respond)
        self._fail = fail
        self.hangs = hang
        self.open_now = 0
        self.hanging = asyncio.Semaphore(0)

    def open(
        self, tools: Sequence[ToolSpec], *, seed: int = 0, max_question_tokens: int | None = None
    ) -> Conversation:
        self.open_now += 1
        return _WatchedConversation(self, self._inner.open(tools, seed=seed), self._fail)


class _WatchedConversation:
    def __init__(self, policy: Watched, inner: Conversation, fail: Callable[[str], bool]) -> None:
        self._policy, self._inner, self._fail = policy, inner, fail

    async def reply(self, messages: Sequence[Message]) -> Reply:
        if self._fail(messages[-1].content):
            raise PolicyUnavailable("gone")
        if self._policy.hangs(messages[-1]):
            self._policy.hanging.release()
            await asyncio.Event().wait()
        return await self._inner.reply(messages)

    async def close(self) -> None:
        self._policy.open_now -= 1
