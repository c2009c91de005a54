"""Speed of chat tokenisation and of the agent loop, on a small byte-level tokenizer.

Ratios are against the bare `tokenizers` library, and against encoding the whole conversation anew
each turn, measured in the same run.

    python tests/benchmarks/bench_agents.py [--quick]
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team, TeamConfig
from wideseek_agents.tokens import END, START, TAGS
from wideseek_core import Document, Message, Page, TableGold, Task, ToolSpec

PASSAGE = (
    "Triton is the largest moon of Neptune. It was found by William Lassell on 10 October 1846, "
    "has a radius of 1353.4 km and orbits in 5.877 days at 354,759 km from the planet.\n"
)
TEXT = PASSAGE * 6


def small_tokenizer() -> Tokenizer:
    """A byte-level BPE trained on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2048, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    marks = [AddedToken(mark, special=True) for mark in (START, END)]
    tags = [AddedToken(tag, special=False, normalized=False) for tag in TAGS]
    tokenizer.add_special_tokens(marks)  # pyright: ignore[reportUnknownMemberType]
    tokenizer.add_tokens(tags)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def per_second(job: Callable[[], object], seconds: float) -> float:
    """How often `job` runs in a second."""
    job()
    runs, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        job()
        runs += 1
    return runs / (time.perf_counter() - started)


class Web:
    """One page."""

    async def search(self, query: str, k: int) -> list[Document]:
        return [
            Document(url=f"https://moons.example/{i}", title="M", text=PASSAGE) for i in range(k)
        ]

    async def read(self, url: str) -> Page:
        return Page(url=url, text=TEXT)


def call(name: str, key: str, subject: str, count: int) -> str:
    """A call with `count` requests."""
    arguments = {key: [{subject: f"what {i}"} for i in range(count)]}
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
    """A lead with 4 subagents that search and read."""
    turn = sum(message.role == "assistant" for message in messages)
    if tools[0].name == "create_sub_agents":
        return [call("create_sub_agents", "sub_agents", "prompt", 4), "| A |"][turn]
    return [call("search", "queries", "query", 2), call("access", "urls", "url", 2), "done"][turn]


async def episodes_per_second(tokenizer: ChatTokenizer, count: int) -> float:
    """Whole scripted rollouts with ids, run together."""
    gold = TableGold(text="", key_columns=("A",), required_columns=("A",))
    task = Task(id="t", question="List the moons of Neptune.", gold=gold)
    policy = ScriptedPolicy(respond, tokenizer)
    team = Team(TeamConfig(prompts="compact"), policy, Web(), Web())
    started = time.perf_counter()
    await asyncio.gather(*(team.run(task, trial=trial) for trial in range(count)))
    return count / (time.perf_counter() - started)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the time")
    seconds = 0.2 if parser.parse_args().quick else 1.0
    bare = small_tokenizer()
    chat = ChatTokenizer(bare)
    system = Message(role="system", content="You answer. " * 200)
    found = Message(role="tool", content=TEXT)
    history = [system, *[Message(role="user", content="?"), found] * 10]
    plain = per_second(lambda: bare.encode(TEXT).ids, seconds)
    whole = per_second(lambda: chat.render(history), seconds)
    rows = [
        ("bare encode, 1,000 characters", plain, 1.0),
        ("encode_data, the same text", per_second(lambda: chat.encode_data(TEXT), seconds), plain),
        ("encode_data, 40 characters", per_second(lambda: chat.encode_data(TEXT[:40]), seconds), 0),
        ("cached system prompt", per_second(lambda: chat.render([system]), seconds), 0),
        ("a conversation of 20 messages anew", whole, 1.0),
        ("its last tool message alone", per_second(lambda: chat.render([found]), seconds), whole),
        (
            "scripted episodes of 5 agents",
            asyncio.run(episodes_per_second(chat, int(200 * seconds))),
            0,
        ),
    ]
    for name, rate, against in rows:
        ratio = f"{rate / against:8.2f} x" if against > 1 else ""
        sys.stdout.write(f"{name:36} {rate:10,.0f} /s {ratio}\n")


if __name__ == "__main__":
    main()
