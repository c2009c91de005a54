from hypothesis import given
from hypothesis import strategies as st

from wideseek_agents import boxed_answer, table_answer

FIRST = "| A | B |\n| --- | --- |\n| 1 | 2 |"
SECOND = "| C |\n| --- |\n| 3 |"


def fenced(table: str) -> str:
    return f"```markdown\n{table}\n```"


def test_the_last_fenced_table_is_the_answer() -> None:
    assert table_answer(f"Draft:\n{fenced(FIRST)}\nFinal:\n{fenced(SECOND)}\nDone.") == SECOND


def test_a_table_in_the_reasoning_is_no_answer() -> None:
    assert table_answer(f"<think>{fenced(FIRST)}</think>Nothing found.") == ""


def test_other_fences_are_no_answer() -> None:
    assert table_answer(f"```\n{FIRST}\n```") == ""


def test_an_open_fence_is_no_answer() -> None:
    assert table_answer(f"```markdown\n{FIRST}") == ""


def test_a_pipe_table_counts_only_if_asked_for() -> None:
    text = f"Draft:\n{SECOND}\nBetter:\n{FIRST}\n\nThat is a | b."
    assert table_answer(text) == ""
    assert table_answer(text, unfenced=True) == FIRST


def test_a_fenced_table_comes_before_a_later_pipe_table() -> None:
    assert table_answer(f"{fenced(FIRST)}\n\n{SECOND}", unfenced=True) == FIRST


def test_pipe_tables_need_a_rule() -> None:
    assert table_answer("| A | B |\n| 1 | 2 |", unfenced=True) == ""


def test_pipe_tables_may_lack_outer_pipes() -> None:
    text = "A | B\n--- | :-:\n1 | 2"
    assert table_answer(text, unfenced=True) == text


def test_the_last_balanced_box_is_the_answer() -> None:
    assert boxed_answer(r"\boxed{1} or \boxed{x^{2} + {y}} or \boxed{open {") == "x^{2} + {y}"


def test_escaped_braces_do_not_count() -> None:
    assert boxed_answer(r"\boxed{a \} b}") == r"a \} b"


def test_a_box_in_the_reasoning_is_no_answer() -> None:
    assert boxed_answer(r"<think>\boxed{1}</think> I don't know.") == ""


def test_no_box_is_empty() -> None:
    assert boxed_answer("42") == ""


@given(st.text("{}\\boxed{}|`-\n markdown", max_size=60))
def test_any_text_can_be_searched_for_answers(text: str) -> None:
    assert boxed_answer(text) in text
    table_answer(text, unfenced=True)
