import pytest
from pydantic import ValidationError

import wideseek_core
from wideseek_core import (
    Episode,
    Score,
    ScoreState,
    Status,
    TableGold,
    TableMetrics,
    Task,
    TextGold,
    TextMetrics,
    ToolSpec,
    Trajectory,
)


def test_every_public_name_is_there_once() -> None:
    names = wideseek_core.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(wideseek_core, name) for name in names)


def test_a_tool_is_shown_in_the_function_format() -> None:
    tool = ToolSpec(name="search", description="Finds.", parameters={"type": "object"})
    assert tool.schema() == {
        "type": "function",
        "function": {"name": "search", "description": "Finds.", "parameters": {"type": "object"}},
    }


def test_only_a_finished_agent_has_not_failed() -> None:
    assert [status for status in Status if not status.failed] == [Status.FINISHED]


def test_the_answering_agent_comes_first() -> None:
    agents = tuple(
        Trajectory(agent=number, role="lead", status=Status.FINISHED, turns=())
        for number in range(2)
    )
    assert Episode(task_id="x", trial=0, trajectories=agents).main.agent == 0


def test_a_score_is_ranked_by_item_f1_or_by_correctness() -> None:
    table = TableMetrics(item_f1=0.25, row_f1=0.5)
    assert Score(state=ScoreState.SCORED, metrics=table).value == 0.25
    assert Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=1.0)).value == 1.0


@pytest.mark.parametrize(
    "gold",
    [
        TableGold(text="| a |", key_columns=("a",), required_columns=("a", "b")),
        TextGold(answers=("Paris", "巴黎")),
    ],
)
def test_a_task_survives_its_json(gold: TableGold | TextGold) -> None:
    task = Task(id="1", question="Which?", language="zh", gold=gold, rows=3)
    assert Task.model_validate_json(task.model_dump_json()) == task


def test_records_refuse_unknown_keys_and_changes() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Task.model_validate({"id": "1", "question": "?", "gold": {"answers": ["x"]}, "note": 1})
    task = Task(id="1", question="?", gold=TextGold(answers=("x",)))
    with pytest.raises(ValidationError, match="frozen"):
        task.id = "2"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_text_reference_holds_at_least_one_answer() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        TextGold(answers=())
