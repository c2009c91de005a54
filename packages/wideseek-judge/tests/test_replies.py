import pytest

from wideseek_judge.llm.replies import read_correct, read_numbers


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ('{"1": 1, "2": 0}', {1: 1, 2: 0}),
        ('```json\n{"1": 1, "2": 0}\n```', {1: 1, 2: 0}),
        ('Let me see. {"1": 1}\nSo:\n```json\n{"1": 0}\n```', {1: 0}),
        ('{"idx_1": 1, "idx_2": "0"}', {1: 1, 2: 0}),
        ('{"1": true, "2": false, "3": "yes", "4": null}', {1: 1, 2: 0, 3: 1, 4: 0}),
        ('{"1": 1, "1": 0}', {1: 0}),  # the last of duplicates counts
        ('{"1": 1, "2": 0,}', {1: 1, 2: 0}),
        ("{'1': 1, '2': 0}", {1: 1, 2: 0}),
        ('{"1": 1, // same city\n "2": 0}', {1: 1, 2: 0}),
        ('{"1": {"score": 1}, "2": {"score": 0}}', {1: 1, 2: 0}),
        ('{"1": 1.0, "2": 0.5}', {1: 1}),  # a half is no verdict
        ('<think>{"1": 0}</think>{"1": 1}', {1: 1}),
        ("1: 1\n2: 0", {1: 1, 2: 0}),
        ("**1**: correct\n**2**: incorrect", {1: 1, 2: 0}),
        ('Result: {"1": 1} and that is all.', {1: 1}),
        ('{"1": 1, "2": 0', {1: 1, 2: 0}),  # cut off
        ("{}", {}),
    ],
)
def test_numbers_are_read_from_untidy_replies(reply: str, numbers: dict[int, int]) -> None:
    assert read_numbers(reply) == numbers


@pytest.mark.parametrize("reply", ["", "I can't judge this.", "[1, 0]", "{", "null", "{{{{" * 50])
def test_replies_without_numbers_are_unreadable(reply: str) -> None:
    assert read_numbers(reply) is None


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ('{"correct": 1}', True),
        ('{"correct": false}', False),
        ('```json\n{"score": 1}\n```', True),
        ("The answer is incorrect.", False),
        ("It is correct", True),
        ("Not correct.", False),
        ("Hard to say", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_as_json_or_word(reply: str, right: bool | None) -> None:
    assert read_correct(reply) is right
