"""What `wideseek train` says at its end."""

from pathlib import Path

import pytest

from wideseek_apps.training import Outcome, check_measured, outcome_text
from wideseek_apps.training_config import TrainConfig
from wideseek_core import ConfigError, TableGold, Task, TextGold
from wideseek_eval.statistics.compare import Comparison
from wideseek_eval.statistics.summary import count
from wideseek_rl import TrainSummary


def outcome(folder: Path) -> Outcome:
    comparison = Comparison(
        questions=1,
        only_a=0,
        only_b=0,
        counts_a=count([]),
        counts_b=count([]),
        draws=10,
        differences=(),
    )
    training = TrainSummary(
        steps=2, updates=2, seconds=3.0, checkpoint=folder / "checkpoints/step_000002", best=None
    )
    return Outcome(comparison=comparison, training=training, seconds=5.0)


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (
            ["metrics.jsonl", "before/", "after/", "checkpoints/"],
            "metrics.jsonl, before/, after/.",
        ),
        (
            ["metrics.jsonl", "episodes/", "tokens/", "tensorboard/", "before/", "after/"],
            "metrics.jsonl, episodes/, tokens/, tensorboard/, before/, after/.",
        ),
        (
            ["metrics.jsonl", "validation/", "logs/", "before/", "after/"],
            "metrics.jsonl, validation/, logs/, before/, after/.",
        ),
    ],
)
def test_only_what_a_run_has_written_is_named(there: list[str], named: str, tmp_path: Path) -> None:
    for part in there:
        path = tmp_path / part
        path.mkdir() if part.endswith("/") else path.touch()
    text = outcome_text(TrainConfig(folder=tmp_path), outcome(tmp_path))
    assert f"Written to {tmp_path}: {named}\n" in text


TABLE = Task(
    id="t",
    question="?",
    gold=TableGold(text="|a|\n|-|\n|1|", key_columns=("a",), required_columns=("a",)),
)
SHORT = Task(id="s", question="?", gold=TextGold(answers=("1",)))


@pytest.mark.parametrize("metric", ["item_f1", "wide/row_f1", "score", "correct", None])
def test_a_best_metric_of_what_is_measured_is_taken(metric: str | None) -> None:
    check_measured(metric, {"wide": [TABLE], "deep": [SHORT]})


@pytest.mark.parametrize(
    ("metric", "known"),
    [("item_f1", "only score, correct"), ("deep/success", "only score, correct")],
)
def test_a_best_metric_that_no_question_has_is_refused_at_the_start(
    metric: str, known: str
) -> None:
    sets = {"deep": [SHORT], "wide": [TABLE]} if "/" in metric else {"deep": [SHORT]}
    with pytest.raises(ConfigError, match=f"best_metric={metric}: the questions .* {known}"):
        check_measured(metric, sets)
