"""Times and parents in episodes, and what viewers of traces are given."""

import asyncio
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wideseek_agents import ScriptedPolicy, Team
from wideseek_core import (
    ConfigError,
    Episode,
    Message,
    Score,
    ScoreState,
    Status,
    TableMetrics,
    Task,
    ToolSpec,
    Trajectory,
)
from wideseek_core.tracing import (
    SpanKind,
    Traced,
    inspect_log,
    otlp_trace,
    spans_of,
    write_inspect_log,
    write_otlp,
)

from .conftest import COMPACT, TRITON, World, call, delegate, turns

SCORE = Score(state=ScoreState.SCORED, metrics=TableMetrics(item_f1=0.5), message="half")


@pytest.fixture
async def episode(world: World, task: Task) -> Episode:
    """A lead that delegates twice, and subagents that take their time."""

    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        await asyncio.sleep(0.01)
        if tools[0].name == "create_sub_agents":
            return turns(delegate("a", "b"), delegate("c"), "end")(messages, tools)
        return turns(call("access", urls=[{"url": TRITON}, {"url": "u"}]), "ok")(messages, tools)

    return await Team(COMPACT, ScriptedPolicy(respond), world, world).run(task)


async def test_every_turn_and_call_has_its_time_and_agents_their_parent(episode: Episode) -> None:
    parents = [(agent.parent, agent.parent_turn) for agent in episode.trajectories]
    assert parents == [(None, 0), (0, 0), (0, 0), (0, 1)]
    for agent in episode.trajectories:
        ends = 0.0
        for turn in agent.turns:
            assert turn.started_s >= ends
            assert turn.seconds >= 0.01
            ends = turn.started_s + turn.seconds
            for result in turn.results:
                assert result.started_s >= ends
            ends = max([ends, *(r.started_s + r.seconds for r in turn.results)])
        assert agent.started_s + agent.seconds >= ends
    lead = episode.main
    assert [result.agent for turn in lead.turns for result in turn.results] == [1, 2, 3]
    first, second = lead.turns[0].results
    assert first.started_s + first.seconds > second.started_s, "subagents run side by side"


async def test_spans_form_one_tree_in_which_parts_lie_inside(episode: Episode) -> None:
    spans = {span.id: span for span in spans_of(episode)}
    assert len(spans) == 1 + 4 + (3 + 3 * 2) + (3 + 3 * 2)
    for span in spans.values():
        assert span.end_s >= span.start_s
        if span.parent is not None:
            above = spans[span.parent]
            assert above.start_s <= span.start_s + 1e-6
            assert above.end_s >= span.end_s - 1e-6
    agents = [span for span in spans.values() if span.kind is SpanKind.AGENT]
    kinds = [spans[span.parent].kind for span in agents if span.parent is not None]
    assert kinds == [SpanKind.ROLLOUT, SpanKind.TOOL, SpanKind.TOOL, SpanKind.TOOL]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}


async def test_otlp_spans_carry_both_conventions(episode: Episode, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    write_otlp(path, [Traced(episode=episode, score=SCORE)] * 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    spans: list[dict[str, Any]] = lines[0]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {(len(span["traceId"]), len(span["spanId"])) for span in spans} == {(32, 16)}
    names = [span["name"] for span in spans]
    assert names[:2] == ["invoke_workflow wideseek", "invoke_agent lead"]
    kinds = {attributes(s)["openinference.span.kind"] for s in spans}
    assert kinds == {"CHAIN", "AGENT", "LLM", "TOOL"}
    root = spans[0]
    assert "parentSpanId" not in root
    assert attributes(root)["output.value"] == "end"
    score = {p["key"]: p["value"] for p in root["events"][0]["attributes"]}
    assert score["gen_ai.evaluation.score.value"] == {"doubleValue": 0.5}
    tool = next(span for span in spans if span["name"] == "execute_tool access")
    assert attributes(tool)["gen_ai.tool.call.result"] == "Triton has a radius of 1353 km."
    failed = [span for span in spans if span["status"]["code"] == 2]
    assert {span["name"] for span in failed} == {"execute_tool access"}
    for span in spans:
        assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]) > 1e18


async def test_text_can_be_left_out_of_otlp_spans(episode: Episode) -> None:
    text = json.dumps(otlp_trace(Traced(episode=episode), content=False))
    assert "Triton" not in text
    assert "Neptune" not in text


async def test_an_inspect_log_has_a_lane_for_each_subagent(
    episode: Episode, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    write_inspect_log(path, [Traced(episode=episode, score=SCORE)], task="moons")
    log = json.loads(path.read_text("utf-8"))
    assert log == inspect_log([Traced(episode=episode, score=SCORE)], task="moons")
    (sample,) = log["samples"]
    assert (sample["id"], sample["epoch"], sample["scores"]["score"]["value"]) == ("moons", 1, 0.5)
    assert sample["scores"]["score"]["answer"] == "end"
    begins = [event for event in sample["events"] if event["event"] == "span_begin"]
    assert [event["name"] for event in begins] == ["subagent 1", "subagent 2", "subagent 3"]
    assert [event["parent_id"] for event in begins] == [None] * 3
    # What the lead does is in no span: it is the main lane.
    lanes = {event["id"] for event in begins} | {None}
    assert {event["span_id"] for event in sample["events"]} == lanes
    called = [e["agent_span_id"] for e in sample["events"] if e.get("agent_span_id")]
    assert called == [event["id"] for event in begins]
    times = [event["timestamp"] for event in sample["events"]]
    assert times == sorted(times)
    assert sum(event["event"] == "model" for event in sample["events"]) == 9


async def test_an_inspect_archive_holds_the_same_log_in_parts(
    episode: Episode, tmp_path: Path
) -> None:
    rollouts = [Traced(episode=episode, score=SCORE, step=step, reward=0.6) for step in (3, 4)]
    write_inspect_log(tmp_path / "run.eval", rollouts, task="moons")
    with zipfile.ZipFile(tmp_path / "run.eval") as archive:
        parts: dict[str, Any] = {n: json.loads(archive.read(n)) for n in archive.namelist()}
    log: Any = inspect_log(rollouts, task="moons")
    samples = [parts.pop(f"samples/step {step}: moons_epoch_1.json") for step in (3, 4)]
    assert samples == log.pop("samples")
    assert parts.pop("header.json") == log
    summaries = parts.pop("summaries.json")
    assert [(s["id"], s["completed"]) for s in summaries] == [
        ("step 3: moons", True),
        ("step 4: moons", True),
    ]
    assert "events" not in summaries[0]
    assert parts == {}


def test_an_inspect_log_needs_an_ending_that_its_viewer_lists(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.log: .* must end in \.eval or \.json"):
        write_inspect_log(tmp_path / "run.log", [], task="moons")


async def test_a_rollout_that_broke_is_exported_too(world: World, task: Task) -> None:
    lead = Trajectory(agent=0, role="lead", status=Status.ERROR, turns=(), error="gone")
    broken = Episode(task_id="t", trial=1, trajectories=(lead,), error="gone")
    log: Any = inspect_log([Traced(episode=broken)], task="x")
    assert log["samples"][0]["error"]["message"] == "gone"
    trace: Any = otlp_trace(Traced(episode=broken))
    spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [span["status"]["code"] for span in spans] == [2, 2]
