"""Whatever a model writes, the table reader and the scorer cope."""

import random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wideseek_core import ColumnRule, Score, ScoreState, TableGold, TableMetrics, Task
from wideseek_core.comparators import COMPARATORS, PREPROCESS
from wideseek_core.tables import find_tables
from wideseek_judge import JudgeConfig, TableJudge, find_answer, open_judge
from wideseek_judge.llm.replies import read_correct, read_numbers
from wideseek_judge.offline import NormalizedVerdicts
from wideseek_judge.rules.comparators import decide, preprocess
from wideseek_judge.text.canonical import canonical, same

GOLD = TableGold(
    text="| a | b | c |\n|---|---|---|\n| 1 | x | 2003-01-05 |\n| 2 | y | https://a.org |",
    key_columns=("a",),
    required_columns=("a", "b", "c"),
    rules={
        "b": ColumnRule(metric=("in_match", "exact_match")),
        "c": ColumnRule(metric=COMPARATORS[:5]),
    },
)
TASK = Task(id="t", question="q", gold=GOLD)
PIECES = (
    *(
        "|",
        "||",
        "\n",
        "\n| ",
        " |\n",
        "| a | b | c |\n",
        "|---|---|---|\n",
        "```markdown\n",
        "```",
    ),
    *(
        "| 1 | x |",
        "\\|",
        "\\",
        "<br>",
        "&#124;",
        "｜",
        "**",
        "\ufeff",
        "\x00",
        "\r",
        "é",
        "\u0301",
    ),
    *('"', "1,2", "-", ":", "\\boxed{", "}", "{", "<answer>", "$", "NaN", "٣", "²", "1e999"),
)


def judge(mode: Literal["strict", "reward"] = "strict") -> TableJudge:
    return TableJudge(JudgeConfig(mode=mode), NormalizedVerdicts())


def check(score: Score) -> None:
    found = score.metrics
    assert isinstance(found, TableMetrics)
    assert score.state in (ScoreState.SCORED, ScoreState.FAILED)
    for figure in (
        found.item_precision,
        found.item_recall,
        found.item_f1,
        found.row_precision,
        found.row_recall,
        found.row_f1,
    ):
        assert 0.0 <= figure <= 1.0


async def test_fifty_thousand_random_byte_strings_are_scored() -> None:
    draw = random.Random(20)
    strict, reward = judge(), judge("reward")
    tables = 0
    for index in range(60_000):
        if index % 6:
            text = draw.randbytes(draw.randrange(200)).decode("utf-8", "replace")
        else:
            text = "".join(draw.choices(PIECES, k=draw.randrange(60)))
        score = await (strict if index % 5 else reward).score(TASK, text)
        check(score)
        tables += score.format_valid
    assert tables > 100  # enough of them are tables with the right columns


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=60).map("".join))
async def test_any_text_is_scored(text: str) -> None:
    check(await judge().score(TASK, text))
    find_answer(text, ("boxed", "tag", "whole"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text(max_size=6), min_size=3, max_size=3), max_size=8))
async def test_any_table_is_scored(rows: list[list[str]]) -> None:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    text = "\n".join(["| a | b | c |", "|---|---|---|", *lines])
    check(await judge().score(TASK, text))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from("xyz")), max_size=6, unique_by=lambda r: r[0]
    ),
    st.randoms(use_true_random=False),
)
async def test_the_order_of_rows_and_columns_changes_nothing(
    rows: list[tuple[int, str]], draw: random.Random
) -> None:
    shuffled = draw.sample(rows, len(rows))
    one = "\n".join(["a|b|c", "-|-|-", *(f"{key}|{cell}|-" for key, cell in rows)])
    two = "\n".join(["c|b|a", "-|-|-", *(f"-|{cell}|{key}" for key, cell in shuffled)])
    assert (await judge().score(TASK, one)).metrics == (await judge().score(TASK, two)).metrics


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_comparing_any_values_is_symmetric(one: str, other: str) -> None:
    assert same(one, one)
    assert same(one, other) == same(other, one)
    canonical(one)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_every_rule_takes_any_values(one: str, other: str) -> None:
    for name in COMPARATORS[:5]:
        assert decide(name, ColumnRule(criterion=0.1), one, other).score in (0.0, 1.0)
        assert decide(name, ColumnRule(criterion=0.1), one, one).score == 1.0
    preprocess(one, PREPROCESS)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}\":,0123456789[]'` truefalsn\n", max_size=200))
def test_any_reply_is_read_or_not(reply: str) -> None:
    read_numbers(reply)
    read_correct(reply)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
async def test_the_official_rules_take_any_text(text: str) -> None:
    async with open_judge(JudgeConfig(mode="official")) as official:
        score: Any = await official.score(TASK, text)
    assert score.state in (ScoreState.SCORED, ScoreState.FAILED)


@pytest.mark.parametrize(
    "text",
    [
        "|" * 200_000,
        "|\n" * 100_000,
        "\\|" * 100_000,
        "\\" * 200_000 + "|",
        "| a | b |\n|---|---|\n" * 20_000,
        "| " + "*_" * 100_000 + " |\n|---|\n| x |",
        "|-" * 100_000 + "\n" + "|-" * 100_000,
        "```\n" * 100_000,
        "\\boxed{" * 30_000,
        "<answer>" * 50_000,
        "{" * 200_000,
        "| " + "[" * 100_000 + " |\n| " + "1," * 100_000 + " |",
    ],
)
async def test_hostile_lengths_end(text: str) -> None:
    find_tables(text)
    find_answer(text, ("boxed", "tag"))
    check(await judge().score(TASK, text))
    read_numbers(text)
