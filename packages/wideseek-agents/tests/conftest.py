"""A tokenizer made on the spot, and a tiny world to search."""

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from wideseek_agents import ChatTokenizer
from wideseek_agents.tokens import END, START, TAGS
from wideseek_core import Document, NoContent, Page, TableGold, Task

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
