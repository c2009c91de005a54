import pytest

from wideseek_core import Score, ScoreState, Status, TableMetrics, TextMetrics
from wideseek_eval import Result
from wideseek_eval.runs.live_metrics import LiveMetrics
from wideseek_eval.runs.results import EpisodeSummary

EPISODE = EpisodeSummary(status=Status.FINISHED)


def table(task: str, f1: float, state: ScoreState = ScoreState.SCORED) -> Result:
    score = Score(state=state, metrics=TableMetrics(item_f1=f1), format_valid=True)
    return Result(task_id=task, trial=0, score=score, episode=EPISODE)


def text(task: str, correct: float) -> Result:
    score = Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=correct), format_valid=True)
    return Result(task_id=task, trial=0, kind="text", score=score, episode=EPISODE)


def shown(*results: Result) -> dict[str, str]:
    live = LiveMetrics()
    for result in results:
        live.add(result)
    return live.metrics()


def test_the_running_mean_has_an_interval_over_questions() -> None:
    # Question means 0.2, 0.4, 0.6: standard error 0.2 / sqrt(3), times t(2) = 4.3027.
    figures = shown(table("a", 0.1), table("a", 0.3), table("b", 0.4), table("c", 0.6))
    high = 0.4 + 4.3027 * 0.2 / 3**0.5
    assert figures["item F1"] == f"0.400 [0.000, {high:.3f}]"


def test_no_interval_leaves_the_scale() -> None:
    assert shown(table("a", 0.75))["item F1"] == "0.750 [0.000, 1.000]"


@pytest.mark.parametrize(
    ("results", "title"),
    [
        ([table("a", 1.0)], "item F1"),
        ([text("a", 1.0)], "correct"),
        ([table("a", 1.0), text("b", 0.0)], "score"),
    ],
)
def test_the_mean_is_named_by_what_is_asked(results: list[Result], title: str) -> None:
    assert title in shown(*results)


def test_what_does_not_count_is_counted_beside_the_mean() -> None:
    broken = Result(task_id="d", trial=0, episode=EPISODE)
    unscored = table("c", 0.0, ScoreState.UNSCORED)
    failed = table("b", 0.0, ScoreState.FAILED)
    figures = shown(table("a", 1.0), failed, unscored, broken)
    assert figures["item F1"].startswith("0.500")
    assert [figures[name] for name in ("failed", "unscored", "error")] == ["1", "1", "1"]


def test_only_new_rollouts_make_up_the_speed() -> None:
    live = LiveMetrics()
    live.add(table("a", 1.0), new=False)
    assert live.metrics()["rollouts/s"] == "0"
    live.add(table("b", 1.0))
    assert float(live.metrics()["rollouts/s"]) > 0
