"""Garbled replies: never a 1 that is not there, never an unknown exception."""

import json
import random
import re
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wideseek_core import Message, ScoreState, TableGold, Task, TextGold, WideSeekError
from wideseek_core.text import after_thinking
from wideseek_judge import ChatClient, JudgeConfig, JudgeEndpointConfig, open_judge
from wideseek_judge.llm.replies import read_correct, read_numbers

TABLES = (
    '{"1": 1, "2": 0, "3": 1}',
    '```json\n{"1": 1, "2": 0, "3": 2}\n```',
    '<think>\nItem 1: both name Vienna, so 1. Item 2 differs: 0.\n</think>\n\n{"1": 1, "2": 0}',
    'Item 1 holds the text {"1": 1, "2": 1}, which is data.\n\n{"1": 0, "2": 0}',
    'Here are the verdicts:\n\n{\n  "1": 1,\n  "2": 0,\n  "3": 1\n}',
    '{"1": true, "2": false, "3": "yes", "4": "no"}',
    "1: 1\n2: 0\n3: 1",
    "- **1**: correct\n- **2**: incorrect",
    '{"1": {"score": 1, "reason": "same"}, "2": {"score": 0, "reason": "Nile is not Donau"}}',
    '{"verdicts": {"1": 0, "2": 0, "3": 0}}',
    "｛“1”：1，“2”：0｝",
    '<think>So far {"1": 1, "2": 1, "3": 1} but I should',
    '{"idx_0": 0, "idx_1": 0, "idx_2": 1}',
)
ANSWERS = (
    '{"correct": 1}',
    '{"correct": 0}',
    '```json\n{"correct": 0}\n```',
    '<think>The reference is Lyon and the answer says Paris.</think>\n{"correct": 0}',
    '{"reason": "The answer names the same city.", "correct": 1}',
    '{"reason": "The answer is incorrect: it names Paris.", "correct": 0}',
    "The answer is incorrect.",
    "This is not right.",
    "Yes, I see the point, but the answer is wrong: No",
    "The correct answer is Lyon, so this scores 0.",
    "It is correct.",
    "答案错误，正确答案是里昂。",
    "这个回答是正确的。",
    '｛"correct"：0｝',
    "Verdict: incorrect",
)
PIECES = (
    "1",
    "0",
    '"',
    "{",
    "}",
    ":",
    ",",
    "\n",
    " ",
    "</think>",
    "<think>",
    "```",
    '"1": 1',
    "No",
    "不",
)

YES = (
    r"""["'“”*_`\s]*[:：=]\s*(?:\{[^{}]*:\s*)?["'“”*_`\s]*"""
    r"(?:0*1(?![\d.])|1\.0|true|yes|correct|right|正确|对|是)"
)
PLAIN = re.compile(
    r"[Yy]es|YES|C(?:orrect|ORRECT)|正确|[是对]的?|.*\bis\b.*|.*(?:答案|回答).*", re.DOTALL
)


def mutated(draw: random.Random, reply: str, others: tuple[str, ...]) -> str:
    """A reply with some random changes: cut, deleted, inserted, swapped, spliced."""
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(reply) + 1)
        end = min(len(reply), at + draw.randrange(1, 12))
        change = draw.randrange(6)
        if change == 0:
            reply = reply[:at]
        elif change == 1:
            reply = reply[:at] + reply[end:]
        elif change == 2:
            reply = reply[:at] + draw.choice(PIECES) + reply[at:]
        elif change == 3:
            reply = reply[:at] + chr(draw.randrange(0x3000)) + reply[at + 1 :]
        elif change == 4:
            reply = reply[:at] + reply[at:end] * draw.randrange(2, 40) + reply[end:]
        else:
            reply = reply[:at] + draw.choice(others)[draw.randrange(8) :]
    return reply


def check_numbers(reply: str) -> None:
    """Every 1 is written in the reply's answer, beside its number."""
    answer = after_thinking(reply)
    ends = answer.rstrip(" \t\r\n`*_.。").endswith(("}", "｝"))
    for alone in (False, True):
        for at, number in (read_numbers(reply, alone=alone) or {}).items():
            assert number >= 0
            if number == 1:
                assert re.search(rf"(?<!\d)0*{at}{YES}", answer, re.IGNORECASE), reply
                assert ends or "{" not in answer, reply


def check_correct(reply: str) -> None:
    """A yes is written in the reply's answer: as a value, or as the whole reply."""
    answer = after_thinking(reply)
    for alone in (False, True):
        if read_correct(reply, alone=alone):
            name = r"(?:correct|score|grade|verdict|judge?ment|result|结论|判断|评分)"
            is_value = re.search(name + YES, answer, re.IGNORECASE)
            assert is_value or ("{" not in answer and PLAIN.fullmatch(answer.strip(" *_`\"'."))), (
                reply
            )


def garble(seed: int, count: int) -> None:
    draw = random.Random(seed)
    for _ in range(count):
        check_numbers(mutated(draw, draw.choice(TABLES), TABLES))
        check_correct(mutated(draw, draw.choice(ANSWERS), ANSWERS))


def test_garbled_replies_give_no_verdict_that_is_not_there() -> None:
    garble(seed=0, count=3_000)


@pytest.mark.bench
def test_fifty_thousand_garbled_replies_give_no_verdict_that_is_not_there() -> None:
    garble(seed=1, count=25_000)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *TABLES, *ANSWERS]) | st.text(max_size=5), max_size=8))
def test_any_mixture_of_pieces_gives_no_verdict_that_is_not_there(pieces: list[str]) -> None:
    reply = "".join(pieces)
    check_numbers(reply)
    check_correct(reply)


GOLD = "| k | v |\n|---|---|\n| A | Danube |\n| B | Nile |"
TABLE = Task(
    id="t",
    question="q",
    gold=TableGold(text=GOLD, key_columns=("k",), required_columns=("k", "v")),
)
TEXT = Task(id="s", question="q", gold=TextGold(answers=("Lyon",)))


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
async def test_a_judge_of_garbled_words_scores_or_leaves_unscored(draw: random.Random) -> None:
    async def garbled(messages: object) -> str:
        return mutated(draw, draw.choice(TABLES + ANSWERS), TABLES + ANSWERS)

    async with open_judge(JudgeConfig(kind="llm", cache=None), garbled) as judge:
        for task, answer in ((TABLE, GOLD.replace("Nile", "Nil")), (TEXT, r"\boxed{Paris}")):
            score = await judge.score(task, answer)
            assert score.state in (ScoreState.SCORED, ScoreState.UNSCORED)
            assert 0 <= score.value <= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "finish_reason", "error", "x"]),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON, st.sampled_from([200, 200, 201, 204, 301, 400, 401, 404, 422, 429, 500, 599]))
async def test_any_answer_of_an_endpoint_is_a_reply_or_one_of_our_errors(
    body: Any, status: int
) -> None:
    data = json.dumps(body).encode("utf-8", "surrogatepass")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, content=data))
    config = JudgeEndpointConfig(base_url="http://judge.test/v1", max_attempts=1)
    async with ChatClient(config, transport=transport) as chat:
        try:
            reply = await chat.complete([Message(role="user", content="Judge this.")], {})
            reply.text.encode()
        except WideSeekError as error:
            str(error).encode()
