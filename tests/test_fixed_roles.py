"""Training with a second model that plays one of the roles and stays as it is."""

import asyncio
import json
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from wideseek_core.episode_records import read_episodes
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_rl import start_policy
from wideseek_rl.models.hf_format import load_model

from .conftest import Run, World, wide_question, write_lines

STEPS = ("rl.prompts_per_step=1", "rl.group_size=4", "rl.log_tokens=4", "evaluation.temperature=0")
MODEL = "model.safetensors"


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def logged_turns(run: Path) -> list[tuple[bool, Any]]:
    """The turns with token ids of all steps, and whether the lead took them."""
    files = sorted((run / "tokens").iterdir())
    rollouts = [rollout for file in files for rollout in lines(file)]
    return [(turn["agent"] == 0, turn) for rollout in rollouts for turn in rollout["turns"]]


def differs(one: Path, other: Path) -> bool:
    """Whether the weights of two model folders do."""
    first, second = (load_model(folder, "cpu", torch.float32) for folder in (one, other))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return any(not torch.equal(value, other_value) for value, other_value in pairs)


class FixedLead:
    """An endpoint that delegates, then answers rightly and wrongly in turns."""

    def __init__(self, answer: str) -> None:
        self._answers = (answer, "I do not know.")
        self.replies = 0
        self.answered = 0

    async def handle(self, request: Request) -> Response:
        if request.method == "GET":
            return Response.of({"data": []})
        self.replies += 1
        messages = request.json()["messages"]
        if messages[-1]["content"].startswith("<tool_response>"):
            content = self._answers[self.answered % 2]
            self.answered += 1
        else:
            arguments = {"sub_agents": [{"prompt": "look"}]}
            call = json.dumps({"name": "create_sub_agents", "arguments": arguments})
            content = f"<tool_call>{call}</tool_call>"
        return Response.of({"choices": [{"message": {"content": content}}]})


@contextmanager
def served(lead: FixedLead) -> Generator[str]:
    """The address of the endpoint, which runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = HttpServer(lead.handle)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        yield f"{server.url}/v1"
        asyncio.run_coroutine_threadsafe(server.kill(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_subagents_train_under_a_fixed_lead_and_the_run_resumes(
    policy: Path, world: World, tmp_path: Path, call: Run
) -> None:
    run, train, held_out = (tmp_path / name for name in ("run", "train.jsonl", "held_out.jsonl"))
    question = wide_question("Neptune")
    write_lines(train, [question])
    write_lines(held_out, [wide_question("Saturn")])
    lead = FixedLead(f"```markdown\n{question['answer']}\n```")
    with served(lead) as url:
        settings = [
            *STEPS,
            f"folder={run}",
            f"policy.model={policy}",
            "policy.turn_tokens=12",
            "policy.engine.processes=0",
            "world.kind=corpus",
            f"world.pages={world.pages}",
            "data.kind=jsonl",
            f"data.path={train}",
            "evaluation.data.kind=jsonl",
            f"evaluation.data.path={held_out}",
            "rl.algorithm.credit=rollout",
            "rl.checkpoint.every_steps=1",
            "fixed_role.role=lead",
            "fixed_role.policy.kind=endpoint",
            "fixed_role.policy.model=lead",
            f"fixed_role.policy.base_url={url}",
        ]
        assert call("train", *settings, "rl.steps=1").code == 0
        resumed = call("train", *settings, "rl.steps=3")
    assert resumed.code == 0, resumed.err
    assert "resuming from step 1" in resumed.err
    turns = logged_turns(run)
    assert turns
    assert not any(of_lead for of_lead, _ in turns), "an endpoint gives no token ids"
    assert any(turn["weight"] > 0 for _, turn in turns)
    trained = run / "checkpoints" / "step_000003" / "model"
    assert differs(policy, trained)
    assert lead.replies == 2 * (3 * 4 + 3), "4 rollouts a step, and 3 that are measured"


def test_a_lead_trains_above_fixed_subagents(tmp_path: Path, call: Run) -> None:
    start, fixed, run = start_policy(), tmp_path / "fixed", tmp_path / "run"
    shutil.copytree(start, fixed)
    settings = [
        *STEPS,
        f"folder={run}",
        "rl.steps=2",
        "data.limit=2",
        "evaluation.data.limit=1",
        "policy.engine.processes=0",
        "fixed_role.policy.kind=local",
        f"fixed_role.policy.model={fixed}",
        "fixed_role.policy.temperature=0",
        "fixed_role.policy.engine.processes=0",
        "team.lead.max_turns=3",
        "team.lead.requests_per_call=3",
    ]
    ended = call("train", *settings)
    assert ended.code == 0, ended.err
    by_lead = {True: list[Any](), False: list[Any]()}
    for of_lead, turn in logged_turns(run):
        by_lead[of_lead].append(turn)
    assert any(turn["weight"] > 0 for turn in by_lead[True])
    assert {(turn["advantage"], turn["weight"]) for turn in by_lead[False]} == {(None, 0)}
    assert differs(start, run / "checkpoints" / "step_000002" / "model")
    assert (fixed / MODEL).read_bytes() == (start / MODEL).read_bytes()
    before, after = (reports(run / name) for name in ("before", "after"))
    shared = before.keys() & after.keys()
    assert {prompt: before[prompt] for prompt in shared} == {p: after[p] for p in shared}


def reports(folder: Path) -> dict[str, str]:
    """What greedy subagents said first, by what they were asked."""
    records = read_episodes(folder / "episodes.jsonl")
    agents = [agent for record in records for agent in record.episode.trajectories[1:]]
    return {agent.prompt: agent.turns[0].text for agent in agents}
