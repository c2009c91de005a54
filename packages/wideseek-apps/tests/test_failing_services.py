"""Evaluations while services fail: nothing is lost, counts add up, and nothing hangs."""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wideseek_agents import AgentConfig, ChatTokenizer, LeadConfig, Team, TeamConfig
from wideseek_agents.policies import VllmPolicyConfig, open_served_policy
from wideseek_apps.evaluation import WideSearchConfig, evaluate
from wideseek_apps.profiles import local_folder
from wideseek_core import (
    Document,
    Episode,
    Page,
    PolicyError,
    Status,
    TableGold,
    Task,
    ToolUnavailable,
    load_config,
)
from wideseek_core.testing import FakeEngine, FakeVllm
from wideseek_core.testing.fake_engine import Running
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_eval import RunConfig, load_run, run_evaluation
from wideseek_judge import JudgeConfig, open_judge
from wideseek_judge.config import JudgeEndpointConfig

# A server that is killed amid an answer leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ANSWER = "| Moon | Radius |\n| --- | --- |\n| Triton | big |"
GOLD = TableGold(
    text="| Moon | Radius |\n| --- | --- |\n| Triton | great |",
    key_columns=("Moon",),
    required_columns=("Moon", "Radius"),
)
MALFORMED = ["<tool_call>{", '<tool_call>{"name": "find"}</tool_call>', "<tool_call>[]</tool_call>"]


def call(name: str, many: str, *requests: dict[str, str]) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': {many: requests}})}</tool_call>"


@dataclass(slots=True)
class TalkingEngine(FakeEngine):
    """Writes calls and answers; one call in twenty is malformed."""

    tokenizer: ChatTokenizer = field(
        default_factory=lambda: ChatTokenizer.load(local_folder("start"))
    )
    rng: random.Random = field(default_factory=random.Random)

    async def sample(
        self, name: str, prompt: Sequence[int], parameters: Mapping[str, Any], key: str
    ) -> tuple[Running, str]:
        await asyncio.sleep(self.rng.random() / 100)
        ids = self.tokenizer.encode_response(self._text(self.tokenizer.decode(prompt)))
        kept = ids[: parameters["max_tokens"]]
        made = Running(ids=kept, logprobs=[-1.0] * len(kept), labels=["default"] * len(kept))
        return made, "stop" if kept == ids else "length"

    def _text(self, prompt: str) -> str:
        if self.rng.random() < 0.05:
            return self.rng.choice(MALFORMED)
        if "create_sub_agents" not in prompt:
            searches = call("search", "queries", {"query": "Triton"})
            reads = call("access", "urls", {"url": "u", "info_to_extract": "x"})
            return self.rng.choice([searches, reads, "Triton is big.", "Triton is big."])
        if self.rng.random() < 0.4:
            count = self.rng.randint(1, 3)
            return call("create_sub_agents", "sub_agents", *[{"prompt": "look"}] * count)
        return ANSWER


class Web:
    """Three in ten requests fail."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def search(self, query: str, k: int) -> list[Document]:
        self._fail()
        return [Document(url="u", title="Triton", text="Triton is big.")]

    async def read(self, url: str) -> Page:
        self._fail()
        return Page(url=url, text="Triton is big.")

    def _fail(self) -> None:
        if self._rng.random() < 0.3:
            raise self._rng.choice([ToolUnavailable, OSError, KeyError])("broken")


@pytest.mark.parametrize("seed", range(10))
async def test_tools_calls_an_engine_and_the_judge_fail_at_once(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    answered = 0

    async def judging(request: Request) -> Response:
        nonlocal answered
        if request.method == "POST" and rng.random() < 0.4:
            return Response.of({"error": {"message": "overloaded"}}, 503)
        answered += request.method == "POST"
        return Response.of({"choices": [{"message": {"content": '{"1": 1}'}}]})

    servers = [FakeVllm(engine=TalkingEngine(vocab_size=4000, rng=rng)) for _ in range(2)]
    tasks = [Task(id=f"t{number}", question="Which moons?", gold=GOLD) for number in range(3)]
    team_config = TeamConfig(
        prompts="compact", lead=LeadConfig(max_turns=4), subagent=AgentConfig(max_turns=4)
    )
    episodes: list[Episode] = []
    before = asyncio.all_tasks()
    async with (
        asyncio.timeout(300),
        HttpServer(judging) as judge_server,
        servers[0].serving(),
        servers[1].serving(),
        open_served_policy(
            VllmPolicyConfig(
                base_urls=tuple(server.url for server in servers),
                tokenizer=local_folder("start"),
                context_tokens=3000,
            )
        ) as policy,
        open_judge(judge_config(judge_server.url)) as judge,
    ):
        team = Team(team_config, policy, Web(rng), Web(rng))

        async def rollout(task: Task, trial: int) -> Episode:
            if len(episodes) == 1:
                await servers[seed % 2].server.kill()
            episodes.append(await team.run(task, trial, seed=seed))
            return episodes[-1]

        run = RunConfig(folder=tmp_path / "run", trials=2, max_concurrent=3)
        await run_evaluation(run, tasks, rollout, judge)
    assert asyncio.all_tasks() == before
    results = load_run(tmp_path / "run").results
    assert sorted((r.task_id, r.trial) for r in results) == [
        (task.id, trial) for task in tasks for trial in (0, 1)
    ]
    assert len(episodes) == 6
    for result in results:
        assert result.episode.status in Status
        assert result.outcome in ("scored", "failed", "unscored"), "a dead replica costs no rollout"
    assert (
        sum(r.score.judge_usage[0].requests for r in results if r.score and r.score.judge_usage)
        == answered
    )


def judge_config(base_url: str) -> JudgeConfig:
    endpoint = JudgeEndpointConfig(base_url=base_url, max_attempts=2, backoff_s=0.01)
    return JudgeConfig(kind="llm", endpoint=endpoint, cache=None)


QUESTIONS = 12


def settings(tmp_path: Path, base_url: str) -> list[str]:
    (tmp_path / "pages.jsonl").write_text('{"url": "u", "contents": "Triton"}\n')
    task = {"question": "Which?", "answer": GOLD.text, "unique_columns": ["Moon"]}
    lines = [json.dumps(task | {"instance_id": f"q{number}"}) for number in range(QUESTIONS)]
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines) + "\n")
    return [
        "policy.kind=endpoint", "policy.model=m", f"policy.base_url={base_url}/v1",
        "policy.backoff_s=0.2", "policy.max_attempts=6", "world.kind=corpus",
        f"world.pages={tmp_path / 'pages.jsonl'}", "data.kind=jsonl",
        f"data.path={tmp_path / 'tasks.jsonl'}", f"run.folder={tmp_path / 'run'}",
        "run.max_concurrent=3", "team.lead.max_turns=3",
    ]  # fmt: skip


class Endpoint:
    """A chat endpoint that is killed at a request and started again after a while, or never."""

    def __init__(self, *, dies_at: int, back_after_s: float | None) -> None:
        self.server = HttpServer(self._answer)
        self._dies_at, self._back_after_s = dies_at, back_after_s
        self._ends: asyncio.Task[None] | None = None

    async def _answer(self, request: Request) -> Response:
        posts = len(self.server.paths())
        if posts >= self._dies_at and request.method == "POST" and self._ends is None:
            self._ends = asyncio.create_task(self._outage())
            await asyncio.Event().wait()
        if request.method == "GET":
            return Response.of({"data": []})
        delegated = len(request.json()["messages"]) > 2
        leads = "You lead a team" in request.json()["messages"][0]["content"]
        text = ANSWER.replace("big", "great")
        if leads and not delegated:
            text = call("create_sub_agents", "sub_agents", {"prompt": "look"}, {"prompt": "more"})
        return Response.of({"choices": [{"message": {"content": text}}]})

    async def _outage(self) -> None:
        await self.server.kill()
        if self._back_after_s is not None:
            await asyncio.sleep(self._back_after_s)
            await self.server.start()


async def test_an_outage_of_the_server_loses_nothing(tmp_path: Path) -> None:
    endpoint = Endpoint(dies_at=9, back_after_s=0.4)
    async with endpoint.server:
        await evaluate(load_config(WideSearchConfig, settings(tmp_path, endpoint.server.url)))
    results = load_run(tmp_path / "run").results
    assert sorted(result.task_id for result in results) == sorted(
        f"q{number}" for number in range(QUESTIONS)
    )
    for result in results:
        assert result.outcome == "scored"
        assert result.score is not None
        assert result.score.value == 1.0
        assert (result.episode.subagents, result.episode.failed_subagents) == (2, 0)
        assert {part.role: part.requests for part in result.usage} == {"lead": 2, "subagent": 2}


async def test_a_server_that_is_gone_for_good_leaves_what_was_done(tmp_path: Path) -> None:
    endpoint = Endpoint(dies_at=25, back_after_s=None)
    async with endpoint.server:
        given = [*settings(tmp_path, endpoint.server.url), "policy.max_attempts=2"]
        await evaluate(load_config(WideSearchConfig, given))
        first = load_run(tmp_path / "run").results
        outcomes = [result.outcome for result in first]
        assert len(first) == QUESTIONS
        done, lost = outcomes.count("scored"), outcomes.count("error")
        assert done + lost == QUESTIONS
        assert done >= 3
        assert lost >= 3
        assert all(result.episode.error for result in first if result.outcome == "error")
        await endpoint.server.start()
        asked = len(endpoint.server.paths())
        await evaluate(load_config(WideSearchConfig, given))
        assert len(endpoint.server.paths()) - asked == 4 * lost, "only what was lost is asked again"
    assert [result.outcome for result in load_run(tmp_path / "run").results] == ["scored"] * 12


async def test_a_server_that_dies_before_any_answer_is_one_error(tmp_path: Path) -> None:
    endpoint = Endpoint(dies_at=1, back_after_s=None)
    async with endpoint.server:
        given = [*settings(tmp_path, endpoint.server.url), "policy.max_attempts=1"]
        with pytest.raises(PolicyError, match="of 12 rollouts all broke: "):
            await evaluate(load_config(WideSearchConfig, given))
    assert [r.outcome for r in load_run(tmp_path / "run").results] == ["error"] * QUESTIONS
