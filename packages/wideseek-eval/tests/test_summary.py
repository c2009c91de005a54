import math

import pytest

from wideseek_core import (
    ConfigError,
    DataError,
    Episode,
    Finish,
    Score,
    ScoreState,
    Status,
    TableMetrics,
    Task,
    TextGold,
    TextMetrics,
    ToolCall,
    Trajectory,
    Turn,
)
from wideseek_core.tasks import Language
from wideseek_eval import Result, summarize, summary_text
from wideseek_eval.runs.results import EpisodeSummary, summarize_episode
from wideseek_eval.statistics.compare import check_same_tasks, compare
from wideseek_eval.statistics.official import official_summary

EPISODE = EpisodeSummary(status=Status.FINISHED, subagents=2)


def table(
    task: str,
    trial: int,
    f1: float,
    *,
    success: float = 0.0,
    state: ScoreState = ScoreState.SCORED,
    language: Language = "en",
) -> Result:
    metrics = TableMetrics(item_f1=f1, row_f1=f1 / 2, success=success)
    score = Score(state=state, metrics=metrics, format_valid=state is ScoreState.SCORED)
    return Result(task_id=task, trial=trial, language=language, score=score, episode=EPISODE)


def broken(task: str, trial: int) -> Result:
    return Result(task_id=task, trial=trial, episode=EPISODE)


def test_avg_max_and_min_at_k_are_means_over_questions() -> None:
    summary = summarize(
        [table("a", 0, 0.2), table("a", 1, 0.6), table("b", 0, 1), table("b", 1, 0)]
    )
    item = summary.overall.metrics["item_f1"]
    assert item.avg.mean == pytest.approx((0.4 + 0.5) / 2)
    assert item.max.mean == pytest.approx((0.6 + 1.0) / 2)
    assert item.min.mean == pytest.approx((0.2 + 0.0) / 2)
    assert (summary.overall.questions, summary.overall.trials) == (2, 2)


def test_pass_at_k_is_the_chance_that_one_of_k_is_right() -> None:
    right = [1.0, 0.0, 0.0, 0.0]
    summary = summarize([table("a", trial, 0.5, success=one) for trial, one in enumerate(right)])
    chances = summary.overall.metrics["success"].pass_at
    assert chances == pytest.approx({1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0})
    assert summary.overall.metrics["success"].max.mean == 1.0


def test_a_failed_answer_is_a_zero_but_an_unscored_or_broken_one_is_not() -> None:
    failed = table("a", 0, 0.0, state=ScoreState.FAILED)
    unscored = table("b", 0, 0.0, state=ScoreState.UNSCORED)
    summary = summarize([failed, unscored, broken("c", 0), table("d", 0, 0.5)])
    assert summary.item_f1.mean == pytest.approx(0.25)
    assert summary.item_f1.questions == 2
    counts = summary.overall.counts
    assert (counts.scored, counts.failed, counts.unscored, counts.error) == (1, 1, 1, 1)
    assert summary.overall.short == 2


def test_a_question_with_an_unscored_trial_keeps_its_others() -> None:
    unscored = table("a", 1, 0.0, state=ScoreState.UNSCORED)
    summary = summarize([table("a", 0, 0.8), unscored])
    assert summary.item_f1.mean == pytest.approx(0.8)
    assert summary.overall.short == 1


def test_languages_are_summed_up_apart() -> None:
    summary = summarize([table("a", 0, 0.2), table("b", 0, 0.6, language="zh")])
    assert summary.languages["en"].metrics["item_f1"].avg.mean == pytest.approx(0.2)
    assert summary.languages["zh"].metrics["item_f1"].avg.mean == pytest.approx(0.6)


def test_tables_and_short_answers_have_their_own_means_and_one_score() -> None:
    score = Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=1.0, token_f1=0.5))
    short = Result(task_id="q", trial=0, kind="text", score=score, episode=EPISODE)
    summary = summarize([table("a", 0, 0.5), short])
    assert (summary.item_f1.mean, summary.correct.mean) == (0.5, 1.0)
    assert summary.score.mean == pytest.approx(0.75)


def test_nothing_is_a_summary_of_nothing() -> None:
    summary = summarize([])
    assert summary.overall.questions == 0
    assert summary.item_f1.questions == 0


def test_the_official_summary_uses_its_names() -> None:
    results = [table("a", 0, 0.2), table("a", 1, 0.6), table("z", 0, 1.0, language="zh")]
    official = official_summary(results)
    assert official["en"]["f1_by_item"] == pytest.approx({"avg_n": 0.4, "max_n": 0.6, "min_n": 0.2})
    assert official["overall"]["f1_by_row"]["avg_n"] == pytest.approx((0.2 + 0.5) / 2)
    assert set(official["zh"]) >= {"score", "precision_by_row", "recall_by_item"}


def test_equal_runs_do_not_differ() -> None:
    run = [table(f"t{index}", 0, index / 10) for index in range(10)]
    (item, *_) = compare(run, run).differences
    assert (item.difference, item.low, item.high, item.p, item.p_holm) == (0, 0, 0, 1, 1)


def test_a_steady_gain_is_found_although_questions_differ_more_than_runs() -> None:
    a = [table(f"t{index}", 0, index / 40) for index in range(30)]
    b = [table(f"t{index}", 0, index / 40 + 0.05 + 0.01 * (index % 3)) for index in range(30)]
    (item, row, *_) = compare(a, b, metrics=["item_f1", "row_f1", "success"]).differences
    assert item.difference == pytest.approx(0.06)
    assert 0.055 < item.low < 0.06 < item.high < 0.065
    assert item.p == pytest.approx(1 / 10_001)
    assert item.p_holm == pytest.approx(3 / 10_001)
    assert row.difference == pytest.approx(0.03)


def test_efforts_beside_the_scores_leave_their_p_values_alone() -> None:
    a = [table(f"t{index}", 0, index / 40) for index in range(30)]
    b = [table(f"t{index}", 0, index / 40 + 0.05) for index in range(30)]
    scores = compare(a, b, metrics=["item_f1", "row_f1"]).differences
    both = compare(a, b, metrics=["item_f1", "subagents", "row_f1", "seconds"]).differences
    assert [item.metric for item in both] == ["item_f1", "subagents", "row_f1", "seconds"]
    assert (both[0].p_holm, both[2].p_holm) == tuple(item.p_holm for item in scores)


def test_effort_is_compared_in_its_own_units() -> None:
    wide = EPISODE.model_copy(update={"subagents": 7})
    a = [table(name, 0, 0.2) for name in "xyz"]
    b = [one.model_copy(update={"episode": wide}) for one in a]
    (found,) = compare(a, b, metrics=["subagents"]).differences
    assert (found.a.mean, found.b.mean) == (EPISODE.subagents, 7)
    assert found.difference == 7 - EPISODE.subagents
    assert found.b.high == 7


def test_only_questions_that_count_in_both_runs_are_compared() -> None:
    a = [table("x", 0, 0.2), table("y", 0, 0.4), table("only", 0, 1.0)]
    b = [table("x", 0, 0.4), table("y", 0, 0.0, state=ScoreState.UNSCORED)]
    found = compare(a, b)
    assert (found.questions, found.only_a, found.only_b) == (2, 1, 0)
    assert found.differences[0].difference == pytest.approx(0.2)
    assert found.counts_b.unscored == 1


def test_runs_without_a_common_question_are_refused() -> None:
    with pytest.raises(DataError, match="share no question"):
        compare([table("a", 0, 1)], [table("b", 0, 1)])


def test_a_question_with_another_reference_is_refused() -> None:
    one = Task(id="a", question="q", gold=TextGold(answers=("1",)))
    two = one.model_copy(update={"gold": TextGold(answers=("2",))})
    check_same_tasks({"a": one}, {"a": one})
    with pytest.raises(DataError, match="'a' is not the same question"):
        check_same_tasks({"a": one}, {"a": two})


def test_an_episode_is_counted_by_requests_turns_and_agents() -> None:
    search = ToolCall(name="search", arguments={"queries": [{"query": "a"}, {"query": "b"}]})
    access = ToolCall(name="access", arguments={"url": "u"})
    turn = Turn(text="", finish=Finish.STOP, calls=(search, access), prompt_tokens=7)
    lead = Trajectory(agent=0, role="lead", status=Status.FINISHED, turns=(turn,))
    sub = Trajectory(agent=1, role="subagent", status=Status.TURN_LIMIT, turns=(turn, turn))
    found = summarize_episode(Episode(task_id="t", trial=0, trajectories=(lead, sub)))
    assert (found.subagents, found.failed_subagents) == (1, 1)
    assert (found.lead_turns, found.subagent_turns) == (1, 2)
    assert (found.searches, found.accesses, found.prompt_tokens) == (6, 3, 21)


def test_sources_are_summed_up_apart_without_what_comes_after_the_slash() -> None:
    results = [
        table(name, 0, f1).model_copy(update={"source": source})
        for name, f1, source in (("a", 0.2, "cities/top"), ("b", 0.6, "cities/group"), ("c", 1, ""))
    ]
    summary = summarize(results)
    assert list(summary.sources) == ["cities", "unnamed"]
    assert summary.sources["cities"].metrics["item_f1"].avg.mean == pytest.approx(0.4)
    assert summarize(results[:2]).sources == {}


def test_the_reasons_of_what_failed_or_has_no_score_are_counted() -> None:
    def without(state: ScoreState, message: str) -> Result:
        result = table("a", 0, 0.0, state=state)
        assert result.score is not None
        return result.model_copy(
            update={"score": result.score.model_copy(update={"message": message})}
        )

    gone = EPISODE.model_copy(update={"error": "PolicyUnavailable: endpoint\nis down"})
    results = [
        without(ScoreState.FAILED, "no table in the answer"),
        without(ScoreState.FAILED, "columns missing: Radius"),
        without(ScoreState.FAILED, "columns missing: Moon"),
        without(ScoreState.UNSCORED, "evaluator error: KeyError: 'timezone'"),
        without(ScoreState.UNSCORED, ""),
        broken("b", 0).model_copy(update={"episode": gone}),
    ]
    assert summarize(results).overall.reasons == {
        "error": {"PolicyUnavailable": 1},
        "failed": {"columns missing": 2, "no table in the answer": 1},
        "unscored": {"evaluator error": 1, "no reason given": 1},
    }


def test_what_has_no_score_is_shown_as_zero_beside_the_mean() -> None:
    unscored = table("b", 0, 0.0, state=ScoreState.UNSCORED)
    summary = summarize([table("a", 0, 1.0), unscored, broken("c", 0), broken("d", 0)])
    item = summary.overall.metrics["item_f1"]
    assert (item.avg.mean, item.with_lost) == (1.0, 0.25)
    text = summary_text(summary)
    assert "If the 3 without a score counted as 0, the score would be 0.250." in text
    assert "counted as 0" not in summary_text(summarize([table("a", 0, 1.0)]))


def test_officially_a_missing_rollout_is_zero_and_an_unjudged_one_is_left_out() -> None:
    unscored = table("c", 0, 0.0, state=ScoreState.UNSCORED)
    official = official_summary([table("a", 0, 1.0, success=1.0), broken("b", 0), unscored])
    assert official["overall"]["score"] == {"avg_n": 0.5, "max_n": 0.5, "min_n": 0.5}
    assert official["overall"]["f1_by_item"]["avg_n"] == 0.5


def test_a_metric_that_is_no_number_does_not_count() -> None:
    metrics = TableMetrics(item_f1=0.5, row_f1=math.nan)
    score = Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)
    nan = Result(task_id="b", trial=0, score=score, episode=EPISODE)
    summary = summarize([table("a", 0, 1.0), nan])
    assert summary.item_f1.mean == pytest.approx(0.75)
    assert (summary.row_f1.mean, summary.row_f1.questions) == (0.5, 1)


@pytest.mark.parametrize(("draws", "seed"), [(0, 0), (-5, 0), (10_000_001, 0), (100, -1)])
def test_draws_and_seeds_that_make_no_sense_are_refused(draws: int, seed: int) -> None:
    run = [table("a", 0, 0.5), table("b", 0, 1.0)]
    with pytest.raises(ConfigError, match=r"draws must be|seed must not"):
        compare(run, run, draws=draws, seed=seed)
