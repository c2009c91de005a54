import pytest

from wideseek_judge.llm.replies import looks_like_verdict, read_correct, read_numbers


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ('{"1": 1, "2": 0}', {1: 1, 2: 0}),
        ('```json\n{"1": 1, "2": 0}\n```', {1: 1, 2: 0}),
        ('Let me see.\n\n{"1": 0}', {1: 0}),
        ('Let me see.\nSo:\n```json\n{"1": 0}\n```', {1: 0}),
        ('{"1": 1}\n```json\n{"1": 1}\n```', {1: 1}),  # said twice
        ('Result: {"1": 1}', {1: 1}),
        ('Final verdicts: {"1": 1}.', {1: 1}),
        ('结果：{"1": 1}', {1: 1}),
        ('{"idx_1": 1, "idx_2": "0"}', {1: 1, 2: 0}),
        ('{"item 1": 1, "#2": 0}', {1: 1, 2: 0}),
        ('{"1": true, "2": false, "3": "yes", "4": "错误"}', {1: 1, 2: 0, 3: 1, 4: 0}),
        ('{"1": 1, "2": null}', {1: 1}),  # nothing said
        ('{"1": 1, "1": 0, "2": 1}', {2: 1}),  # contradictory
        ('{"1": 1, "idx_1": 0, "2": 1}', {2: 1}),
        ('{"1": 1, "2": 0,}', {1: 1, 2: 0}),
        ("{'1': 1, '2': 0}", {1: 1, 2: 0}),
        ("{1: True, 2: False}", {1: 1, 2: 0}),
        ('｛"1"：1，"2"：0｝', {1: 1, 2: 0}),
        ("{“1”: 1, “2”: 0}", {1: 1, 2: 0}),
        ('{"1": 1, // same city\n "2": 0}', {1: 1, 2: 0}),
        ('{"1": {"score": 1}, "2": {"score": 0, "why": "{"}}', {1: 1, 2: 0}),
        ('{"verdicts": {"1": 1, "2": 0}}', {1: 1, 2: 0}),
        ('{"1": 1.0, "2": 0.5, "3": -1}', {1: 1}),  # a half is no verdict
        ('<think>{"1": 0}</think>{"1": 1}', {1: 1}),
        ('{"1": 0}</think>{"1": 1}', {1: 1}),
        ("1: 1\n2: 0", {1: 1, 2: 0}),
        ("- **1**: correct\n- **2**: incorrect", {1: 1, 2: 0}),
        ("{}", {}),
        ('{"1": ' + "1" * 6000 + ', "2": 1}', {2: 1}),
        ('{"1": 1e400, "2": NaN, "3": 1}', {3: 1}),
    ],
)
def test_numbers_are_read_from_untidy_replies(reply: str, numbers: dict[int, int]) -> None:
    assert read_numbers(reply) == numbers


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I can't judge this.",
        "[1, 0]",
        "{",
        "null",
        "{{{{" * 50,
        '{"1": 1, "2": 0',  # cut off
        '{"1": 1, "2": 1}, {"3":',
        '<think>So far: {"1": 1}',  # cut off while thinking
        'Item 2 holds the text {"1": 1, "2": 1}',
        'Item 2 holds the text {"1": 1, "2": 1}.\n{"1": 0, "2": 0}',
        '{"1": 0, "2": 0}\nItem 2 holds the text {"1": 1, "2": 1}',
        '{"1": 1}\nOn second thought, item 1 is wrong.',
        'If they agree I reply {"1": 1}',
        "The answers 1: 1 and 2: 1 are fine",
        '{"a": ' * 100_000,
        '{"a": ' * 100_000 + "1" + "}" * 100_000,
        '{"1": 1}' + "x" * 500_000,
    ],
)
def test_replies_without_an_anchored_object_are_unreadable(reply: str) -> None:
    assert read_numbers(reply) is None


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ('{"1": 1}', {1: 1}),
        ('```json\n{"1": 1}\n```', {1: 1}),
        ('Item 1 says:\n{"1": 1}', None),
        ('Result: {"1": 1}', None),
    ],
)
def test_where_answers_hold_verdicts_the_object_must_stand_alone(
    reply: str, numbers: dict[int, int] | None
) -> None:
    assert read_numbers(reply, alone=True) == numbers


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ('{"correct": 1}', True),
        ('{"correct": false}', False),
        ('```json\n{"score": 1}\n```', True),
        ('{"reason": "same city", "correct": true}', True),
        ('{"correct": "否"}', False),
        ('<think>{"correct": 0}</think>\n{"correct": 1}', True),
        ("Verdict: correct", True),
        ("The names differ.\n**Verdict:** incorrect", False),
        ("结论：正确", True),
        ("It is correct", True),
        ("Yes.", True),
        ("The answer is correct.", True),
        ("正确", True),
        ("答案正确。", True),
        ("The answer is incorrect.", False),
        ("Not correct.", False),
        ("This is not right.", False),
        ("This isn't correct.", False),
        ("No", False),
        ("No, it names another river.", False),
        ("Nope.", False),
        ("The answer does not match.", False),
        ("The response doesn't match the reference.", False),
        ("该答案与参考答案不一致", False),
        ("不是。", False),
        ('{"Correct": 1}', True),
        ('{"correct": 1, "incorrect": 0}', True),
        ("Yes, I see the point, but the answer is wrong: No", False),
        ("The correct answer is Lyon, so this scores 0.", False),
        ("不正确", False),
        ("这个答案是错误的。", False),
        ("不对，应为里昂", False),
    ],
)
def test_a_verdict_is_read_as_json_or_words(reply: str, right: bool) -> None:
    assert read_correct(reply) is right


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Hard to say",
        "The correct answer is Lyon.",
        "正确答案是里昂。",
        "It would be correct if it were Lyon.",
        "It is not wrong.",
        "Yes or no",
        "Correct/incorrect",
        '{"correct": 1, "incorrect": 1}',
        "没有错误",
        "Is it correct?",
        "No, wait: it is correct",
        "correct",  # what is left of a broken object
        '"correct"',
        '{"correct"',
        '{"correct": ',
        '{"correct": 0.5}',
        '{"correct": 2}',
        '{"correct": null}',
        '{"correct": 1, "score": 0}',
        '{"correct": 1, "correct": 0}',
        '{"correct": [1]}',
        '{"correct": ' + "1" * 6000 + "}",
        '{"reason": "The answer is incorrect.", "correct": 1}',
        'The answer is wrong.\n{"correct": 1}',
        'The answer is correct.\n{"correct": 0}',
        'The text says {"correct": 1}',
        '<think>It could well be correct: {"correct": 1}',
        '{"right": 1}',
    ],
)
def test_what_is_no_clear_verdict_is_none(reply: str) -> None:
    assert read_correct(reply) is None


@pytest.mark.parametrize("text", ['{"1": 1}', "1: 1", "correct = yes", '"2": true', "verdict: 1"])
def test_text_shaped_like_a_verdict_is_recognized(text: str) -> None:
    assert looks_like_verdict(text)


@pytest.mark.parametrize(
    "text", ["Paris", "12:30", "1,234", "2003-01-05", "the correct name", "a [b] (c)"]
)
def test_ordinary_cells_are_no_verdicts(text: str) -> None:
    assert not looks_like_verdict(text)
