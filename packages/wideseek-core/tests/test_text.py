import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_core.text import (
    after_thinking,
    boxed_answer,
    clean,
    ends_in_thinking,
    one_line,
    without_control_tokens,
)

TAGS = ("<think>", "</think>", "\n", "`", '"', "|", "```\n", "\\boxed{", "}", " ", "x")
TABLE = "| Tag | Use |\n|---|---|\n| </think> | ends thinking |"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("answer", "answer"),
        ("<think>hm</think> answer", "answer"),
        ("<think>\nhm\n</think>\n\nanswer\n", "answer"),
        ("hm\n</think>\n\nanswer", "answer"),  # the template wrote the opening tag
        ("hm</think>answer", "answer"),
        ("<think>one</think> draft <think>two</think> answer", "answer"),
        ("one</think>\n<think>two</think>\nanswer", "answer"),
        ("draft <think>hm</think> answer", "answer"),
        ("one\n</think>\ntwo\n</think>\nanswer", "answer"),
        ("<think>hm", ""),
        ("hm</think>", ""),
        ("<think>one</think>\n<think>two", ""),
        ("<think>the tag `</think>` ends it\n</think>\nanswer", "answer"),
        ('<think>{"q": "</think>"}</think>answer', "answer"),
    ],
)
def test_the_answer_follows_the_thinking(text: str, answer: str) -> None:
    assert after_thinking(text) == answer


@pytest.mark.parametrize(
    "thinking",
    [
        "[THINK]\nhm\n[/THINK]\n",
        "hm\n[/THINK]",
        "<thinking>hm</thinking>",
        "<reasoning>\nhm\n</reasoning>\n",
        "<seed:think>hm</seed:think>",
        "◁think▷hm◁/think▷",
        "<|begin_of_thought|>hm<|end_of_thought|>\n<|begin_of_solution|>",
        "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>",
        "<Think>hm</Think>",
        "< think >hm</ think >",
        "<think>one <think>two</think> three</think>",
        "<think>how does <think> work?</think>",
        "<think>hm</think></think>",
    ],
)
@pytest.mark.parametrize("answer", ["answer", TABLE])
def test_other_marks_of_thinking_end_it_too(thinking: str, answer: str) -> None:
    assert after_thinking(thinking + answer) == answer
    assert not ends_in_thinking(thinking + answer)


@pytest.mark.parametrize(
    "text",
    ["<think>hm", "[THINK]hm", "<thinking>hm", "<|channel|>analysis<|message|>hm", "<Think>"],
)
def test_thinking_that_never_ends_holds_no_answer(text: str) -> None:
    assert after_thinking(text) == ""
    assert ends_in_thinking(text)


def test_html_tags_alone_end_no_thinking() -> None:
    text = "Its tag is </thinking> or <thought>, as in HTML."
    assert after_thinking(text) == text


@pytest.mark.parametrize(
    "answer",
    [
        TABLE,
        '{"query": "meaning of </think> in Qwen3"}',
        r'{"query": "a \"</think>\" b"}',
        '<tool_call>\n{"name": "search", "arguments": {"query": "</think> tag"}}\n</tool_call>',
        r"The tag is \boxed{</think>}",
        "The tag `</think>` ends the thinking.",
        'The tag "</think>" ends the thinking.',
    ],
)
@pytest.mark.parametrize("thinking", ["", "<think>hm</think>\n", "hm\n</think>\n"])
def test_a_quoted_tag_ends_nothing(thinking: str, answer: str) -> None:
    assert after_thinking(thinking + answer) == answer


@pytest.mark.parametrize(
    "answer", ["The tag </think> ends it.", "```\n<think>\nhm\n</think>\nx\n```\nThat is it."]
)
def test_a_tag_in_the_text_of_an_answer_behind_its_thinking_ends_nothing(answer: str) -> None:
    assert after_thinking(f"<think>hm</think>\n{answer}") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('"</think>", ' * 20_000 + "x", '"</think>", ' * 20_000 + "x"),
        ("<think>" * 50_000, ""),
        ("</think>" * 50_000 + "answer", "</think>" * 49_999 + "answer"),
        ("```a\n" * 50_000 + "</think>x", "x"),
        ("\\boxed{" * 50_000, "\\boxed{" * 50_000),
    ],
)
def test_hostile_text_is_read_to_its_end(text: str, answer: str) -> None:
    assert after_thinking(text) == answer
    assert boxed_answer(text) == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{a {b} c}", "a {b} c"),
        (r"\boxed {x}", "x"),
        (r"\boxed{good} \boxed{cut", "good"),
        (r"\boxed{a \} b}", r"a \} b"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{}", ""),
        ("nothing", ""),
    ],
)
def test_the_last_balanced_box_counts(text: str, answer: str) -> None:
    assert boxed_answer(text) == answer


def test_what_utf_8_cannot_hold_is_replaced() -> None:
    assert clean("a\ud83d") == "a\ufffd"
    assert clean("\udc00b") == "\ufffdb"
    assert clean("\ud83d\ude00") == "\U0001f600"
    assert clean("naïve 你好") == "naïve 你好"
    assert clean(json.loads('"\\ud83d x"')).encode() == "\ufffd x".encode()


def test_white_space_becomes_one_blank() -> None:
    assert one_line(" a\n\n b\u3000\tc \ud800") == "a b c \ufffd"


@pytest.mark.parametrize(
    "token",
    [
        "<|im_end|>",
        "<|im_start|>",
        "<think>",
        "</think>",
        "<tool_call>",
        "</s>",
        "<｜end▁of▁sentence｜>",
        "<end_of_turn>",
    ],
)
def test_control_tokens_become_text(token: str) -> None:
    assert without_control_tokens(f"a{token}b") == f"a< {token[1:]}b"


def test_ordinary_comparisons_stay() -> None:
    assert without_control_tokens("a < b > c, <b>x</b>") == "a < b > c, <b>x</b>"


@given(st.lists(st.sampled_from(TAGS) | st.text(max_size=6), max_size=12).map("".join))
def test_the_answer_is_always_an_end_of_the_text(text: str) -> None:
    answer = after_thinking(text)
    assert text.strip().endswith(answer)
    if "think>" not in text:
        assert answer == text.strip()


@given(st.text())
def test_cleaned_text_can_be_written(text: str) -> None:
    assert clean(text).encode().decode() == clean(text)
    assert clean(clean(text)) == clean(text)
