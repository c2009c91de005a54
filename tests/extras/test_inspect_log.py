# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""The logs that we write for Inspect, read by Inspect itself."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from wideseek_core import Episode, Finish, Score, ScoreState, Status, TableMetrics, ToolResult, Turn
from wideseek_core import Trajectory as Agent
from wideseek_core.tracing import Traced, write_inspect_log

pytestmark = [
    pytest.mark.viewers,
    pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs inspect-ai"),
    pytest.mark.filterwarnings("ignore"),  # of its imports
]


def make_rollout(trial: int) -> Traced:
    """A lead with one subagent, and a tool call that failed."""
    created = ToolResult(request="a", text="report", tool="create_sub_agents", agent=1, seconds=2.0)
    failed = ToolResult(request="u", text="no such page", ok=False, tool="access", seconds=0.5)
    call = Turn(text="I ask.", finish=Finish.STOP, prompt_tokens=9, results=(created,), seconds=1.0)
    read = Turn(text="I read.", finish=Finish.LENGTH, results=(failed,), started_s=1.0, seconds=1.0)
    end = Turn(text="| a |", finish=Finish.STOP, response_tokens=5, started_s=3.0, seconds=1.0)
    lead = Agent(agent=0, role="lead", status=Status.FINISHED, turns=(call, end), prompt="q")
    below = Agent(
        agent=1, role="subagent", status=Status.FINISHED, turns=(read,), parent=0, started_s=1.0
    )
    episode = Episode(
        task_id="data/t 1", trial=trial, trajectories=(lead, below), answer="| a |", seconds=4.0
    )
    score = Score(state=ScoreState.SCORED, metrics=TableMetrics(item_f1=0.5))
    return Traced(episode=episode, score=score)


@pytest.mark.parametrize("ending", [".eval", ".json"])
def test_inspect_reads_every_event_of_our_log(tmp_path: Path, ending: str) -> None:
    from inspect_ai.event import ModelEvent, SpanBeginEvent, ToolEvent
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

    path = tmp_path / f"run{ending}"
    write_inspect_log(path, [make_rollout(0), make_rollout(1)], task="tables")
    log = read_eval_log(str(path))
    assert (log.status, log.eval.task) == ("success", "tables")
    assert log.results is not None
    assert log.results.scores[0].metrics["mean"].value == 0.5
    assert log.samples is not None
    assert [(sample.id, sample.epoch) for sample in log.samples] == [
        ("data/t 1", 1),
        ("data/t 1", 2),
    ]
    events = log.samples[0].events
    assert sum(isinstance(event, ModelEvent) for event in events) == 3
    (begin,) = [event for event in events if isinstance(event, SpanBeginEvent)]
    assert (begin.name, begin.type) == ("subagent 1", "agent")
    tools = [event for event in events if isinstance(event, ToolEvent)]
    assert [tool.function for tool in tools] == ["create_sub_agents", "access"]
    assert tools[0].agent_span_id == begin.id
    assert tools[1].error is not None
    summaries = read_eval_log_sample_summaries(str(path))
    assert [summary.completed for summary in summaries] == [True, True]
