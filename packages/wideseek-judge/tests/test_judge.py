import pytest

from wideseek_core import Judge, Score, ScoreState, Task, TextGold, TextMetrics
from wideseek_judge import JudgeConfig, open_judge


def task(*answers: str) -> Task:
    return Task(id="t", question="Which team?", gold=TextGold(answers=answers))


async def score(answer: str, *references: str, config: JudgeConfig | None = None) -> Score:
    async with open_judge(config or JudgeConfig()) as judge:
        offline: Judge = judge
        return await offline.score(task(*references), answer)


def figures(score: Score) -> tuple[float, float, float, float]:
    found = score.metrics
    assert isinstance(found, TextMetrics)
    return (found.correct, found.exact_match, found.token_f1, found.contains)


async def test_a_boxed_answer_is_compared_with_every_reference() -> None:
    result = await score(r"So it is \boxed{wolfe tones}.", "Crettyard", "Wolfe Tones")
    assert result.state is ScoreState.SCORED
    assert result.format_valid
    assert result.value == 1.0
    assert figures(result) == (1, 1, 1, 1)


async def test_a_wrong_answer_scores_zero() -> None:
    result = await score(r"\boxed{Dublin City}", "Wolfe Tones")
    assert figures(result) == (0, 0, 0, 0)
    assert result.format_valid


async def test_numbers_and_dates_are_compared_by_value() -> None:
    assert (await score(r"\boxed{12467}", "12,467")).value == 1.0
    assert (await score(r"\boxed{5 January 2003}", "2003-01-05")).value == 1.0


async def test_the_exact_judge_wants_the_same_string() -> None:
    exact = JudgeConfig(kind="exact")
    assert (await score(r"\boxed{12467}", "12,467", config=exact)).value == 0.0
    assert (await score(r"\boxed{12,467}", "12,467", config=exact)).value == 1.0


async def test_without_a_box_the_answer_fails() -> None:
    result = await score("Wolfe Tones", "Wolfe Tones")
    assert result.state is ScoreState.FAILED
    assert not result.format_valid
    assert figures(result) == (0, 0, 0, 0)


async def test_the_whole_text_can_be_the_answer() -> None:
    config = JudgeConfig(extract=("boxed", "whole"))
    assert (await score("Wolfe Tones", "Wolfe Tones", config=config)).value == 1.0


async def test_what_was_thought_is_no_answer() -> None:
    result = await score(r"<think>\boxed{Wolfe Tones}</think>I don't know.", "Wolfe Tones")
    assert result.state is ScoreState.FAILED


@pytest.mark.parametrize("mode", ["strict", "reward"])
async def test_short_answers_are_the_same_in_every_mode(mode: str) -> None:
    config = JudgeConfig.model_validate({"mode": mode})
    assert (await score(r"\boxed{The Wolfe Tones}", "Wolfe Tones", config=config)).value == 1.0
