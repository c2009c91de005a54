"""Whole tables by the strict and the reward rules, figures worked out by hand."""

import sys
from typing import Any

import pytest

from wideseek_core import (
    ColumnRule,
    ConfigError,
    DataError,
    Score,
    ScoreState,
    TableGold,
    TableMetrics,
    Task,
)
from wideseek_judge import JudgeConfig, check_gold, open_judge

HEAD = "| Name | Size | Note |\n|---|---|---|\n"
ANSWER = HEAD + "| A | 1 | x |\n| B | 2 | y |"
GOLD = TableGold(
    text=f"```markdown\n{ANSWER}\n```",
    key_columns=("Name",),
    required_columns=("Name", "Size", "Note"),
)


async def score(answer: str, gold: TableGold = GOLD, **settings: Any) -> Score:
    async with open_judge(JudgeConfig.model_validate(settings)) as judge:
        return await judge.score(Task(id="t", question="q", gold=gold), answer)


def figures(score: Score) -> tuple[float, ...]:
    found = score.metrics
    assert isinstance(found, TableMetrics)
    return (found.item_precision, found.item_recall, found.item_f1, found.row_f1, found.success)


@pytest.mark.parametrize("mode", ["strict", "reward"])
@pytest.mark.parametrize("kind", ["exact", "normalized"])
async def test_the_reference_itself_scores_one(kind: str, mode: str) -> None:
    result = await score(ANSWER, kind=kind, mode=mode)
    assert figures(result) == (1, 1, 1, 1, 1)
    assert result.state is ScoreState.SCORED
    assert result.format_valid


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # One wrong cell: 5 of 6 cells, 1 of 2 rows.
        (ANSWER.replace("| y |", "| z |"), (5 / 6, 5 / 6, 5 / 6, 1 / 2, 0)),
        # One missing row: 3/3 and 3/6.
        (HEAD + "| A | 1 | x |", (1, 1 / 2, 2 / 3, 2 / 3, 0)),
        # One extra row: 6/9 and 6/6.
        (ANSWER + "\n| C | 3 | z |", (2 / 3, 1, 4 / 5, 4 / 5, 0)),
        # No common key.
        (HEAD + "| C | 1 | x |", (0, 0, 0, 0, 0)),
        # The same row again does no harm.
        (ANSWER + "\n| A | 1 | x |", (1, 1, 1, 1, 1)),
        # Nor does another spelling of its key, which surely is the same.
        (ANSWER + "\n| **a** | 9 | q |", (1, 1, 1, 1, 1)),
        # The first of repeated rows counts.
        (HEAD + "| A | 9 | q |\n| A | 1 | x |\n| B | 2 | y |", (4 / 6, 4 / 6, 4 / 6, 1 / 2, 0)),
        # Order of rows and columns does not matter, extra columns don't either.
        (
            "| More | Note | Name | Size |\n|---|---|---|---|\n"
            "| m | y | B | 2 |\n| m | x | A | 1 |",
            (1, 1, 1, 1, 1),
        ),
        # Other spellings of the same values.
        (HEAD + "| a | 1.0 | *X* |\n| B. | +2 | y |", (1, 1, 1, 1, 1)),
        # A gap in a number column touches its own cell only.
        (ANSWER.replace("| 2 |", "|  |"), (5 / 6, 5 / 6, 5 / 6, 1 / 2, 0)),
        # A pipe in a cell, escaped.
        (ANSWER.replace("| y |", "| y\\|z |"), (5 / 6, 5 / 6, 5 / 6, 1 / 2, 0)),
        # Short rows are filled: the note of B is missing.
        (ANSWER.replace("| 2 | y |", "| 2 |"), (5 / 6, 5 / 6, 5 / 6, 1 / 2, 0)),
        # An open quote is text.
        (ANSWER.replace("| y |", '| "y |'), (1, 1, 1, 1, 1)),
        # The last table counts, after any thinking.
        (f"<think>{ANSWER}</think>{HEAD}| A | 1 | x |", (1, 1 / 2, 2 / 3, 2 / 3, 0)),
        (f"{HEAD}| A | 1 | x |\n\nBetter:\n\n{ANSWER}", (1, 1, 1, 1, 1)),
        (f"{ANSWER}\n\n| Source |\n|---|\n| web |", (1, 1, 1, 1, 1)),
    ],
)
async def test_strict_figures(answer: str, expected: tuple[float, ...]) -> None:
    assert figures(await score(answer)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("no table", "no table in the answer"),
        ("", "no table in the answer"),
        ("| Name | Size |\n|---|---|\n| A | 1 |", "columns missing: note"),
        (HEAD, "the table has no rows"),
    ],
)
@pytest.mark.parametrize("mode", ["strict", "reward"])
async def test_answers_without_a_usable_table_fail(answer: str, message: str, mode: str) -> None:
    result = await score(answer, mode=mode)
    assert result.state is ScoreState.FAILED
    assert result.message == message
    assert not result.format_valid
    assert figures(result) == (0, 0, 0, 0, 0)


async def test_the_exact_judge_compares_strings() -> None:
    text = HEAD + "| A | 1.0 | X |\n| b | 2 | y |"
    # Row b is lost; of row A only the key is right.
    assert figures(await score(text, kind="exact"))[0] == pytest.approx(1 / 6)


async def test_recall_never_passes_one() -> None:
    gold = GOLD.model_copy(
        update={"rules": {"Note": ColumnRule(metric=("exact_match", "in_match"))}}
    )
    text = ANSWER + "\n| a | 1 | x |\n| A. | 1 | x |"
    assert figures(await score(text, gold)) == (1, 1, 1, 1, 1)


async def test_a_cell_with_two_metrics_must_pass_both() -> None:
    rule = ColumnRule(metric=("in_match", "exact_match"))
    gold = GOLD.model_copy(update={"rules": {"note": rule}})
    gold = gold.model_copy(update={"text": gold.text.replace("| y |", "| yes |")})
    # "y" stands in "yes" but is not equal to it.
    assert figures(await score(ANSWER, gold))[0] == pytest.approx(5 / 6)


async def test_rules_find_their_column_whatever_its_spelling() -> None:
    gold = GOLD.model_copy(
        update={"rules": {" SIZE ": ColumnRule(metric=("number_near",), criterion=0.5)}}
    )
    assert figures(await score(ANSWER.replace("| 2 |", "| 3 |"), gold))[0] == 1


async def test_reward_ignores_rules_and_compares_six_digits() -> None:
    near = ColumnRule(metric=("number_near",), criterion=0.5)
    gold = GOLD.model_copy(update={"rules": {"size": near}})
    assert figures(await score(ANSWER.replace("| 2 |", "| 3 |"), gold, mode="reward"))[0] < 1
    long = GOLD.model_copy(update={"text": GOLD.text.replace("| 2 |", "| 1234567 |")})
    text = ANSWER.replace("| 2 |", "| 1234568 |")
    assert figures(await score(text, long, mode="reward"))[0] == 1
    assert figures(await score(text, long, mode="strict"))[0] < 1


async def test_long_numbers_in_keys_stay_apart_in_reward_mode() -> None:
    gold = GOLD.model_copy(update={"text": HEAD + "| 1234567 | 1 | x |\n| 1234568 | 2 | y |"})
    assert figures(await score(gold.text, gold, mode="reward")) == (1, 1, 1, 1, 1)


async def test_names_of_columns_are_matched_by_spelling() -> None:
    text = ANSWER.replace("Name", "**NAME**").replace("Size", "Si-ze")
    assert figures(await score(text))[0] == 1
    assert (await score(text, kind="exact")).message == "columns missing: size"


async def test_two_key_columns_name_a_row_together() -> None:
    gold = TableGold(
        text="Name,Size,Note\nA,1,x\nA,2,y\n",
        format="csv",
        key_columns=("name", "size"),
        required_columns=("name", "size", "note"),
    )
    text = HEAD + "| a | 2.0 | y |\n| A | 1 | z |"
    assert figures(await score(text, gold)) == pytest.approx((5 / 6, 5 / 6, 5 / 6, 1 / 2, 0))


async def test_keys_are_joined_after_the_preprocessing_of_their_column() -> None:
    rules = {"name": ColumnRule(preprocess=("extract_number",)), "size": ColumnRule()}
    text = HEAD + "| Group 1 | 1 | x |\n| Group 2 | 2 | y |"
    gold = GOLD.model_copy(update={"text": text, "rules": rules})
    answer = HEAD + "| #2 | 2 | y |\n| No. 1 | 1 | x |"
    assert figures(await score(answer, gold, kind="exact")) == (1, 1, 1, 1, 1)
    assert figures(await score(answer, gold, mode="reward"))[0] == 0


async def test_rows_that_are_told_apart_by_case_only_stay_apart() -> None:
    gold = GOLD.model_copy(update={"text": HEAD + "| A | 1 | x |\n| a | 2 | y |"})
    assert figures(await score(HEAD + "| A | 1 | x |\n| a | 2 | y |", gold)) == (1, 1, 1, 1, 1)


async def test_rows_and_cells_are_explained() -> None:
    result = await score(HEAD + "| A | 1 | z |\n| C | 3 | x |")
    assert result.missing_rows == ("B",)
    assert result.extra_rows == ("C",)
    assert [(c.key, c.column, c.answer, c.gold, c.score, c.by) for c in result.cells] == [
        ("A", "name", "A", "A", 1.0, "key"),
        ("A", "size", "1", "1", 1.0, "exact"),
        ("A", "note", "z", "x", 0.0, "normalized"),
    ]


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (GOLD.model_copy(update={"text": "nothing"}), "the reference holds no table"),
        (GOLD.model_copy(update={"required_columns": ("Name", "Age")}), "no column 'age'"),
        (GOLD.model_copy(update={"key_columns": ("Id",)}), "key column 'id'"),
        (GOLD.model_copy(update={"rules": {"note": ColumnRule(metric=("x",))}}), "'x'"),
    ],
)
async def test_unusable_references_are_errors(gold: TableGold, message: str) -> None:
    with pytest.raises(DataError, match=message):
        await score(ANSWER, gold)
    with pytest.raises(DataError, match=message):
        check_gold(gold)


def test_a_usable_reference_passes_the_check() -> None:
    check_gold(GOLD)


async def test_the_official_rules_want_their_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("official", "pandas_tables", "official_functions"):
        monkeypatch.delitem(sys.modules, f"wideseek_judge.rules.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install 'wideseek-judge\[official\]'"):
        await score(ANSWER, mode="official")


async def test_column_names_must_match_as_written_only_if_the_reference_says_so() -> None:
    answer = "| name | SIZE | Note |\n|---|---|---|\n| A | 1 | x |\n| B | 2 | y |"
    assert figures(await score(answer)) == (1, 1, 1, 1, 1)
    exact = GOLD.model_copy(update={"normalize_columns": False})
    assert figures(await score(ANSWER, exact)) == (1, 1, 1, 1, 1)
    result = await score(answer, exact)
    assert (result.state, result.message) == (ScoreState.FAILED, "columns missing: Name, Size")


@pytest.mark.parametrize("mode", ["strict", "reward"])
@pytest.mark.parametrize(
    "answer",
    [
        "\n".join(f"> {line}" for line in ANSWER.splitlines()),
        "- " + ANSWER.replace("\n", "\n  "),
        ANSWER.replace("|---|---|---|", "|---+---+---|"),
        ANSWER.replace("|---|---|---|", "|===|===|===|"),
        ANSWER.replace("|---|---|---|", "|——|——|——|"),
        ANSWER.replace("| A | 1 |", "| A ｜ 1 |"),
        ANSWER.replace("|", "｜"),
        ANSWER.replace("| x |", "| x |\n|---|---|---|"),
        f"<think>hm</think>\n{ANSWER}",
        f"hm\n</think>\n\n{ANSWER}",
    ],
)
async def test_a_perfect_answer_scores_one_however_its_table_is_drawn(
    answer: str, mode: str
) -> None:
    assert figures(await score(answer, mode=mode)) == (1, 1, 1, 1, 1)


async def test_the_end_of_thinking_in_a_cell_ends_nothing() -> None:
    gold = GOLD.model_copy(update={"text": ANSWER.replace("| y |", "| </think> |")})
    for thinking in ("", "<think>hm</think>\n", "hm\n</think>\n"):
        assert figures(await score(thinking + gold.text, gold)) == (1, 1, 1, 1, 1)


async def test_text_that_utf_8_cannot_hold_is_scored() -> None:
    gold = GOLD.model_copy(update={"text": ANSWER.replace("| y |", "| \ud83d |")})
    result = await score(ANSWER.replace("| y |", "| z\udc00 |"), gold)
    assert result.value == pytest.approx(5 / 6)
    assert result.model_dump_json()
