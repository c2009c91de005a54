"""Whole tables by the official rules, figures worked out by hand."""

from collections.abc import Mapping

import pytest

from wideseek_core import ColumnRule, Score, ScoreState, TableGold, TableMetrics, Task
from wideseek_judge import JudgeConfig, open_judge

EXACT = ColumnRule()
GOLD = "Name,Size,Note\nA,1,x\nB,2,y\n"
ANSWER = "| Name | Size | Note |\n|---|---|---|\n| A | 1 | x |\n| B | 2 | y |"


def gold(
    text: str = GOLD,
    rules: Mapping[str, ColumnRule] | None = None,
    keys: tuple[str, ...] = ("name",),
    required: tuple[str, ...] = ("name", "size", "note"),
) -> TableGold:
    given = {"name": EXACT, "size": EXACT, "note": EXACT} if rules is None else dict(rules)
    return TableGold(
        text=text, format="csv", key_columns=keys, required_columns=required, rules=given
    )


async def score(
    answer: str, reference: TableGold | None = None, kind: str = "exact", fence: bool = True
) -> Score:
    config = JudgeConfig.model_validate({"kind": kind, "mode": "official"})
    text = f"```markdown\n{answer}\n```" if fence else answer
    async with open_judge(config) as judge:
        task = Task(id="t", question="q", gold=reference or gold())
        return await judge.score(task, text)


def figures(score: Score) -> tuple[float, ...]:
    found = score.metrics
    assert isinstance(found, TableMetrics)
    return (found.item_precision, found.item_recall, found.item_f1, found.row_f1, found.success)


async def test_the_reference_itself_scores_one() -> None:
    assert figures(await score(ANSWER)) == (1, 1, 1, 1, 1)


async def test_row_and_column_order_do_not_matter() -> None:
    text = "| Note | Name | Size |\n|---|---|---|\n| y | B | 2 |\n| x | A | 1 |"
    assert figures(await score(text)) == (1, 1, 1, 1, 1)


async def test_one_wrong_cell_costs_its_row() -> None:
    # 5 of 6 cells, 1 of 2 rows.
    text = ANSWER.replace("| y |", "| z |")
    assert figures(await score(text)) == pytest.approx((5 / 6, 5 / 6, 5 / 6, 1 / 2, 0))


async def test_a_missing_row_costs_recall() -> None:
    # 3 cells right of 3 answered and 6 wanted: P 1, R 1/2, F1 2/3.
    text = ANSWER.replace("\n| B | 2 | y |", "")
    assert figures(await score(text)) == pytest.approx((1, 1 / 2, 2 / 3, 2 / 3, 0))


async def test_an_extra_row_costs_precision() -> None:
    text = ANSWER + "\n| C | 3 | z |"
    assert figures(await score(text)) == pytest.approx((2 / 3, 1, 4 / 5, 4 / 5, 0))


async def test_repeated_keys_are_dropped_on_both_sides() -> None:
    text = ANSWER + "\n| A | 9 | q |"
    assert figures(await score(text)) == (1, 1, 1, 1, 1)
    repeated = gold(GOLD + "A,9,q\n")
    assert figures(await score(ANSWER, repeated)) == (1, 1, 1, 1, 1)


async def test_no_table_fails() -> None:
    result = await score("nothing here", fence=False)
    assert result.state is ScoreState.FAILED
    assert figures(result) == (0, 0, 0, 0, 0)
    assert not result.format_valid


async def test_an_extra_column_scores_zero() -> None:
    # quirk 3: the column sets must be equal.
    text = "| Name | Size | Note | More |\n|---|---|---|---|\n| A | 1 | x | m |"
    assert figures(await score(text)) == (0, 0, 0, 0, 0)


async def test_a_missing_column_scores_zero() -> None:
    assert figures(await score("| Name | Size |\n|---|---|\n| A | 1 |")) == (0, 0, 0, 0, 0)


async def test_the_first_fenced_table_counts() -> None:
    # quirk 1: the second, complete table is not looked at.
    text = f"```markdown\n| draft |\n|---|\n| - |\n```\n```markdown\n{ANSWER}\n```"
    assert figures(await score(text, fence=False)) == (0, 0, 0, 0, 0)


async def test_only_markdown_fences_count() -> None:
    # A plain fence is not found, its lines with pipes are.
    assert figures(await score(f"```\n{ANSWER}\n```", fence=False)) == (1, 1, 1, 1, 1)


async def test_the_first_run_of_lines_with_leading_pipes_counts() -> None:
    text = f"Two tables follow.\n{ANSWER}\nand\n| x |\n|---|\n| 1 |"
    assert figures(await score(text, fence=False)) == (1, 1, 1, 1, 1)


async def test_three_pipes_are_no_table() -> None:
    assert (await score("| a | b |", fence=False)).state is ScoreState.FAILED


async def test_a_table_without_leading_pipes_is_lost_outside_a_fence() -> None:
    # Each line's run begins at its first pipe, so the first column is cut off.
    text = "Name | Size | Note\n---|---|---\nA | 1 | x"
    assert figures(await score(text, fence=False)) == (0, 0, 0, 0, 0)
    assert figures(await score(text))[0] == 1


async def test_a_pipe_in_a_cell_breaks_the_table() -> None:
    # quirk 2: three cells become four, which read_csv refuses from the second row on.
    text = ANSWER.replace("| y |", "| y\\|z |")
    result = await score(text)
    assert result.state is ScoreState.FAILED
    assert "ParserError" in result.message


async def test_short_rows_are_filled_with_nan() -> None:
    # The last row lacks its note: 5 of 6 cells.
    text = ANSWER.replace("| B | 2 | y |", "| B | 2 |")
    assert figures(await score(text))[0] == pytest.approx(5 / 6)


async def test_a_whole_number_column_with_a_gap_turns_into_fractions() -> None:
    # quirk 4: "1" becomes "1.0" on the side with the gap, so it differs from "1".
    gappy = ANSWER.replace("| B | 2 |", "| B |  |")
    assert figures(await score(gappy))[0] == pytest.approx(4 / 6)


async def test_ways_of_saying_nothing_are_one() -> None:
    # quirk 4: NA and an empty cell are both nan, in the answer and in the reference.
    reference = gold("Name,Size,Note\nA,1,NA\nB,2,\n")
    text = "| Name | Size | Note |\n|---|---|---|\n| A | 1 | null |\n| B | 2 | N/A |"
    assert figures(await score(text, reference)) == (1, 1, 1, 1, 1)


async def test_a_dash_is_not_nothing() -> None:
    reference = gold("Name,Size,Note\nA,1,\nB,2,y\n")
    text = "| Name | Size | Note |\n|---|---|---|\n| A | 1 | - |\n| B | 2 | y |"
    assert figures(await score(text, reference))[0] == pytest.approx(5 / 6)


async def test_leading_zeros_and_plus_signs_vanish_from_number_columns() -> None:
    reference = gold("Name,Size,Note\nA,007,x\nB,2,y\n")
    assert figures(await score(ANSWER.replace("| 1 |", "| +7 |"), reference))[4] == 1


async def test_truth_values_are_read_as_such() -> None:
    reference = gold("Name,Size,Note\nA,1,TRUE\nB,2,FALSE\n")
    text = ANSWER.replace("x", "True").replace("y", "False")
    assert figures(await score(text, reference))[4] == 1


async def test_a_metric_named_twice_counts_once() -> None:
    rules = {
        "name": EXACT,
        "size": EXACT,
        "note": ColumnRule(metric=("exact_match", "exact_match")),
    }
    assert figures(await score(ANSWER, gold(rules=rules)))[0] == 1


async def test_a_column_with_two_metrics_counts_twice() -> None:
    # quirk 7: 2 rows x (key + size + 2 for note) = 8 over 6 cells.
    rules = {"name": EXACT, "size": EXACT, "note": ColumnRule(metric=("exact_match", "in_match"))}
    result = await score(ANSWER, gold(rules=rules))
    assert figures(result)[:4] == pytest.approx((8 / 6, 8 / 6, 8 / 6, 1))


async def test_a_column_without_metrics_scores_nothing_but_is_wanted() -> None:
    # 2 rows x (key + size) = 4 of 6; the rows themselves are right.
    rules = {"name": EXACT, "size": EXACT, "note": ColumnRule(metric=())}
    assert figures(await score(ANSWER, gold(rules=rules)))[:4] == pytest.approx(
        (4 / 6, 4 / 6, 4 / 6, 1)
    )


async def test_a_required_column_without_a_rule_says_nothing_about_the_answer() -> None:
    result = await score(ANSWER, gold(rules={"name": EXACT, "size": EXACT}))
    assert result.state is ScoreState.UNSCORED
    assert figures(result) == (0, 0, 0, 0, 0)
    assert "column 'note' has no rule" in result.message


async def test_an_unknown_metric_says_nothing_about_the_answer() -> None:
    rules = {"name": EXACT, "size": EXACT, "note": ColumnRule(metric=("rouge",))}
    result = await score(ANSWER, gold(rules=rules))
    assert result.state is ScoreState.UNSCORED
    assert "unknown function 'rouge' for column 'note'" in result.message


async def test_a_reference_without_a_table_says_nothing_about_the_answer() -> None:
    result = await score(ANSWER, gold(""))
    assert result.state is ScoreState.UNSCORED
    assert result.message.startswith("the reference can't be read: EmptyDataError")


async def test_a_tolerance_that_is_text_is_a_fault() -> None:
    rules = {
        "name": EXACT,
        "note": EXACT,
        "size": ColumnRule(metric=("number_near",), criterion="5%"),
    }
    assert figures(await score(ANSWER, gold(rules=rules))) == (0, 0, 0, 0, 0)


async def test_aligned_keys_join_many_to_many_and_recall_passes_one() -> None:
    # quirk 5: "a" and "A" both mean A: 3 joined rows of 3 cells over 6 wanted cells.
    text = ANSWER + "\n| a | 1 | x |"
    result = await score(text, kind="normalized")
    assert figures(result)[:3] == pytest.approx((9 / 9, 9 / 6, 2 * 1 * 1.5 / 2.5))


async def test_keys_that_are_not_judged_by_text_are_not_aligned() -> None:
    rules = {
        "name": ColumnRule(metric=("number_near",), criterion=0.0),
        "size": EXACT,
        "note": EXACT,
    }
    text = ANSWER.replace("| A |", "| a |")
    assert figures(await score(text, gold(rules=rules), kind="normalized"))[0] == pytest.approx(
        1 / 2
    )


async def test_column_names_are_aligned_by_the_judge() -> None:
    text = ANSWER.replace("Name", "*Name*")
    assert figures(await score(text, kind="exact")) == (0, 0, 0, 0, 0)
    assert figures(await score(text, kind="normalized"))[0] == 1


async def test_preprocessing_may_merge_keys() -> None:
    # "A b" and "ab" are two answer rows of one key once spaces are gone: both join.
    rules = {"name": ColumnRule(preprocess=("norm_str",), metric=()), "size": EXACT, "note": EXACT}
    reference = gold("Name,Size,Note\nA b,1,x\n", rules=rules)
    text = "| Name | Size | Note |\n|---|---|---|\n| A b | 1 | x |\n| ab | 1 | x |"
    assert figures(await score(text, reference))[:2] == pytest.approx((1, 2))


async def test_equal_tables_succeed_without_metrics() -> None:
    # Frames are equal, so success is 1 although the figures are not.
    rules = {"name": ColumnRule(metric=()), "size": EXACT, "note": ColumnRule(metric=())}
    result = await score(ANSWER, gold(rules=rules))
    assert figures(result)[4] == 1
    assert figures(result)[0] == pytest.approx(4 / 6)


async def test_alignment_spoils_the_equality_of_frames() -> None:
    # quirk 6: the kept copy of the key makes the frames differ in width.
    rules = {"name": EXACT, "size": EXACT, "note": ColumnRule(metric=())}
    assert figures(await score(ANSWER, gold(rules=rules)))[4] == 0


async def test_another_column_order_spoils_the_equality_of_frames() -> None:
    rules = {"name": ColumnRule(metric=()), "size": EXACT, "note": ColumnRule(metric=())}
    text = "| Size | Name | Note |\n|---|---|---|\n| 1 | A | x |\n| 2 | B | y |"
    assert figures(await score(text, gold(rules=rules)))[4] == 0


async def test_two_key_columns_name_a_row_together() -> None:
    reference = gold("Name,Size,Note\nA,1,x\nA,2,y\n", keys=("name", "size"))
    text = "| Name | Size | Note |\n|---|---|---|\n| A | 2 | y |\n| A | 1 | z |"
    # Keys score 4, notes 1 of 2: 5 of 6 cells, 1 of 2 rows.
    assert figures(await score(text, reference)) == pytest.approx((5 / 6, 5 / 6, 5 / 6, 1 / 2, 0))


async def test_spaces_in_column_names_do_not_matter() -> None:
    reference = gold(
        "Full Name,Size\nA,1\n",
        rules={"fullname": EXACT, "size": EXACT},
        keys=("fullname",),
        required=("fullname", "size"),
    )
    text = "| FULL name | si ze |\n|---|---|\n| A | 1 |"
    assert figures(await score(text, reference)) == (1, 1, 1, 1, 1)


async def test_a_byte_order_mark_in_the_reference_does_not_matter() -> None:
    assert figures(await score(ANSWER, gold("\ufeff" + GOLD)))[4] == 1


async def test_a_reference_without_a_required_column_is_a_fault() -> None:
    result = await score(ANSWER, gold("Name,Size\nA,1\n"))
    assert figures(result) == (0, 0, 0, 0, 0)


async def test_quotes_are_csv_quotes() -> None:
    # quirk 2: read_csv takes the quotes off one side only if the other spells them otherwise.
    reference = gold('Name,Size,Note\n"""A""",1,x\nB,2,y\n')
    text = ANSWER.replace("| A |", '| "A" |')
    # The reference keeps its doubled quotes as one pair, the answer loses them: row A is lost.
    assert figures(await score(text, reference))[0] == pytest.approx(1 / 2)


async def test_an_open_quote_breaks_the_table() -> None:
    text = ANSWER.replace("| x |", '| "x |')
    assert (await score(text)).state is ScoreState.FAILED


async def test_no_common_key_scores_zero() -> None:
    text = ANSWER.replace("| A |", "| C |").replace("| B |", "| D |")
    result = await score(text)
    assert figures(result) == (0, 0, 0, 0, 0)


async def test_cells_are_explained() -> None:
    result = await score(ANSWER.replace("| y |", "| z |") + "\n| C | 1 | q |")
    wrong = [cell for cell in result.cells if not cell.score]
    assert [(cell.key, cell.column, cell.answer, cell.gold) for cell in wrong] == [
        ("B", "note", "z", "y")
    ]
    assert result.extra_rows == ("C",)
    assert {cell.by for cell in result.cells} == {"key", "exact"}
