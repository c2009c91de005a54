"""A fixed second role in training, and models that judge and summarize."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wideseek_agents import ScriptedPolicy, TeamConfig
from wideseek_apps.evaluation import WideSearchConfig, check_evaluation, evaluate
from wideseek_apps.training import Models
from wideseek_apps.training_config import TrainConfig, check_train
from wideseek_core import ConfigError, Message, TableGold, Task, ToolSpec, load_config
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_eval import load_run
from wideseek_tools import MemoryPages, MemorySearch
from wideseek_tools.open import Tools

ENDPOINT = ("policy.kind=endpoint", "policy.model=m", "policy.max_attempts=1")


def call(name: str, arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def named(name: str) -> ScriptedPolicy:
    """A model that signs what it writes."""

    def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        if tools[0].name == "create_sub_agents" and len(messages) == 2:
            return call("create_sub_agents", {"sub_agents": [{"prompt": "look"}]})
        return f"written by {name}"

    return ScriptedPolicy(respond)


@pytest.mark.parametrize("role", ["lead", "subagent", None])
async def test_a_fixed_role_has_its_own_model_and_is_not_trained(role: Any) -> None:
    models = Models(role=role, fixed=named("fixed") if role else None, summarizer=None)
    tools = Tools(MemorySearch(()), MemoryPages(()))
    team = models.team(TeamConfig(), named("trained"), tools)
    gold = TableGold(text="", key_columns=(), required_columns=())
    episode = await team.run(Task(id="t", question="Which?", gold=gold))
    by_role = {agent.role: agent for agent in episode.trajectories}
    for name, agent in by_role.items():
        assert agent.trained == (name != role)
        assert agent.answer == f"written by {'fixed' if name == role else 'trained'}"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (["team.use_access_summary=true"], "team.use_access_summary"),
        (["judge_policy.kind=rollout"], "judge_policy"),
        (["fixed_role.role=lead"], "fixed_role.policy"),
        (["fixed_role.policy.kind=local", "team.workflow=single_agent"], "fixed_role"),
        (["fixed_role.policy.kind=rollout"], "fixed_role.policy"),
        (["fixed_role.policy.kind=vllm", "fixed_role.policy.tokenizer=none"], "fixed_role.policy"),
        (["summarizer.kind=local", "summarizer.model=none"], "summarizer.model"),
        (["judge.kind=llm", "judge_policy.kind=local", "judge_policy.model=x"], "judge_policy"),
    ],
)
def test_models_that_do_not_fit_are_refused_before_any_work(settings: list[str], key: str) -> None:
    if "base_urls" not in key and any("vllm" in text for text in settings):
        settings = [*settings, "fixed_role.policy.base_urls=[http://127.0.0.1:1]"]
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        check_train(load_config(TrainConfig, settings))


LEAD, SUBAGENT = (
    ["fixed_role.policy.kind=local", f"fixed_role.role={role}"] for role in ("lead", "subagent")
)


@pytest.mark.parametrize(
    ("settings", "selection", "reason"),
    [
        (
            ["team.workflow=single_agent"],
            "subagents",
            "team.workflow=single_agent has no subagents",
        ),
        (LEAD, "main", "fixed_role.role=lead leaves the model of these as it is"),
        (SUBAGENT, "subagents", "fixed_role.role=subagent leaves the model of these as it is"),
    ],
)
def test_a_selection_of_turns_that_never_train_is_refused(
    settings: list[str], selection: str, reason: str
) -> None:
    chosen = f"rl.algorithm.selection={selection}"
    with pytest.raises(ConfigError, match=f"{chosen} trains nothing: {reason}"):
        load_config(TrainConfig, [*settings, chosen])
    other = {"main": "subagents", "subagents": "main"}[selection]
    load_config(TrainConfig, [*settings, f"rl.algorithm.selection={other}"])


def test_a_fixed_role_keeps_what_its_model_was_taught(tmp_path: Path) -> None:
    profile = {"team": {"prompts": "default", "subagent": {"max_turns": 3}}}
    (tmp_path / "wideseek.json").write_text(json.dumps(profile))
    fixed = ["fixed_role.policy.kind=local", f"fixed_role.policy.model={tmp_path}"]
    team = load_config(TrainConfig, fixed).team
    assert (team.subagent.prompts, team.subagent.max_turns) == ("default", 3)
    assert (team.lead.prompts, team.lead.max_turns) == ("compact", 6)
    team = load_config(TrainConfig, [*fixed, "fixed_role.role=lead"]).team
    assert (team.lead.prompts, team.subagent.prompts) == ("default", "compact")


async def test_one_model_answers_summarizes_and_judges(tmp_path: Path) -> None:
    temperatures: dict[str, list[float]] = {"agent": [], "summary": [], "judge": []}

    read: list[str] = []

    async def handle(request: Request) -> Response:
        if request.method == "GET":
            return Response.of({"data": []})
        body = request.json()
        text = body["messages"][-1]["content"]
        who, answer = "agent", "| Moon | Radius |\n| --- | --- |\n| Triton | big |"
        if "You grade tables" in json.dumps(body["messages"]):
            who, answer = "judge", '{"1": 1}'
        elif "Triton is large." in text and "<tool_response>" not in text:
            who, answer = "summary", "It is big."
        elif len(body["messages"]) == 2:
            answer = call("access", {"url": "u", "info_to_extract": "radius"})
        temperatures[who].append(body["temperature"])
        read.append(text)
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return Response.of({"choices": [{"message": {"content": answer}}], "usage": usage})

    (tmp_path / "pages.jsonl").write_text('{"url": "u", "contents": "Triton is large."}\n')
    task = {
        "question": "Which moons?",
        "answer": "| Moon | Radius |\n| --- | --- |\n| Triton | great |",
        "unique_columns": ["Moon"],
    }
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    async with HttpServer(handle) as server:
        settings = [
            *ENDPOINT, f"policy.base_url={server.url}/v1", "team.workflow=single_agent",
            "world.kind=corpus", f"world.pages={tmp_path / 'pages.jsonl'}", "data.kind=jsonl",
            f"data.path={tmp_path / 'tasks.jsonl'}", f"run.folder={tmp_path / 'run'}",
            "team.use_access_summary=true", "summarizer.kind=rollout",
            "judge.kind=llm", "judge_policy.kind=rollout",
            "judge.price.prompt=1000", "team.budget.prices={'*': {prompt: 1000}}",
        ]  # fmt: skip
        config = load_config(WideSearchConfig, settings)
        check_evaluation(config)
        report = await evaluate(config)
    (result,) = load_run(tmp_path / "run").results
    assert result.score is not None
    assert result.score.value == 1.0
    assert any("It is big." in text and "<tool_response>" in text for text in read)
    assert temperatures["agent"] == [1.0, 1.0]
    assert temperatures["summary"] == [0.0]
    assert set(temperatures["judge"]) == {0.0}
    judged = len(temperatures["judge"])
    spent = {part.role: (part.model, part.requests, part.prompt_tokens) for part in result.usage}
    assert spent == {
        "single": ("m", 2, 200),
        "summary": ("m", 1, 100),
        "judge": ("m", judged, 100 * judged),
    }
    costs = {part.role: part.cost for part in result.usage}
    assert costs == pytest.approx({"single": 0.2, "summary": 0.1, "judge": 0.1 * judged})
    assert re.search(r"judge\W+m\W+1\W+100\W+10\W+0\.1000", report)
