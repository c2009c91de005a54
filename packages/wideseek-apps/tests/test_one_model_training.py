"""Training on a server that runs already and is a fake: its start, and its model as helper."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

from wideseek_agents import ChatTokenizer
from wideseek_apps.profiles import local_folder
from wideseek_apps.training import train
from wideseek_apps.training_config import TrainConfig, check_train
from wideseek_core import load_config
from wideseek_core.episode_records import EpisodeRecord, read_episodes
from wideseek_core.testing import FakeEngine, FakeVllm, until
from wideseek_core.testing.fake_engine import Running
from wideseek_core.token_records import read_token_records
from wideseek_eval import load_run, load_tasks
from wideseek_rl.rollout.sampler import PromptSampler

MOONS, HELD_OUT = ("Triton", "Titan", "Io"), "Rhea"
PAGE, SUMMARY = "It weighs a lot and is large.", "It is big."
RIGHT, WRONG, REFERENCE = "big", "small", "great"
EMBEDDING = "model.embed_tokens.weight"


def table(moon: str, size: str) -> str:
    return f"| Moon | Size |\n| --- | --- |\n| {moon} | {size} |"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: what it is for, and which weights are asked how."""

    use: str
    label: str
    embedding: bytes
    temperature: float


@dataclass(slots=True)
class OneModel(FakeEngine):
    """Reads a page, then answers rightly and wrongly in turns; summarizes pages and judges."""

    tokenizer: ChatTokenizer = field(
        default_factory=lambda: ChatTokenizer.load(local_folder("start"))
    )
    asked: list[Asked] = field(default_factory=list[Asked])
    late_verdicts: str = ""
    """The moon whose verdicts by the start weights wait until the server is paused."""
    across_pauses: int = 0
    """Verdicts that were asked for before a pause and given after it."""
    right: str = RIGHT
    answers: dict[str, Iterator[str]] = field(default_factory=dict[str, Iterator[str]])

    async def sample(
        self, name: str, prompt: Sequence[int], parameters: Mapping[str, Any], key: str
    ) -> tuple[Running, str]:
        if parameters["max_tokens"] == 1:  # what a pool asks a server that it meets
            return Running(ids=[1], logprobs=[-1.0], labels=[self.label]), "length"
        text = self.tokenizer.decode(prompt)
        use, reply = self._reply(text)
        embedding, temperature = self.weights[EMBEDDING], parameters["temperature"]
        self.asked.append(Asked(use, self.label, embedding, temperature))
        late = self.late_verdicts and self.late_verdicts in text
        if use == "judge" and late and self.label == "0":
            await until(lambda: self.paused)
            self.across_pauses += 1
        await self._go.wait()
        ids = self.tokenizer.encode_response(reply)
        return Running(ids=ids, logprobs=[-1.0] * len(ids), labels=[self.label] * len(ids)), "stop"

    def _reply(self, prompt: str) -> tuple[str, str]:
        if "You grade tables" in prompt:
            return "judge", json.dumps({"1": int(f'"{RIGHT}"' in prompt)})
        if PAGE in prompt and "<tool_response>" not in prompt:
            return "summary", SUMMARY
        if "<tool_response>" not in prompt:
            call = {"name": "access", "arguments": {"url": "u", "info_to_extract": "size"}}
            return "agent", f"<tool_call>{json.dumps(call)}</tool_call>"
        moon = next(moon for moon in (*MOONS, HELD_OUT) if moon in prompt)
        answers = self.answers.setdefault(moon, itertools.cycle((self.right, WRONG)))
        return "agent", table(moon, next(answers))


def settings(folder: Path, *more: str) -> list[str]:
    (folder / "pages.jsonl").write_text(json.dumps({"url": "u", "contents": PAGE}) + "\n")
    for name, moons in (("train", MOONS), ("held_out", (HELD_OUT,))):
        with (folder / f"{name}.jsonl").open("w") as file:
            for moon in moons:
                question = {"instance_id": moon, "question": f"How big is the moon {moon}?"}
                gold = {"answer": table(moon, REFERENCE), "unique_columns": ["Moon"]}
                file.write(json.dumps(question | gold) + "\n")
    return [
        f"folder={folder / 'run'}", "world.kind=corpus", f"world.pages={folder / 'pages.jsonl'}",
        "data.kind=jsonl", f"data.path={folder / 'train.jsonl'}", "evaluation.data.kind=jsonl",
        f"evaluation.data.path={folder / 'held_out.jsonl'}", "evaluation.temperature=0.5",
        "team.workflow=single_agent", "policy.engine.kind=vllm", "policy.engine.sync.verify=none",
        "rl.prompts_per_step=1", "rl.group_size=4", "rl.on_duplicates=warn", "rl.loggers=[]",
        "rl.checkpoint.every_steps=1", "placement.trainer.processes=0", "trainer.min_nll=0",
        "rl.loss.max_log_ratio=null", *more,
    ]  # fmt: skip


async def run(engine: OneModel, given: Sequence[str]) -> Path:
    """Trains on a server of this engine, and returns the folder."""
    server = FakeVllm(engine=engine)
    async with server.serving():
        config = load_config(TrainConfig, [*given, f"placement.engines.base_urls=[{server.url}]"])
        check_train(config)
        await train(config)
    return config.folder


def episodes(folder: Path, steps: int) -> list[EpisodeRecord]:
    files = [folder / "episodes" / f"step_{step:06d}.jsonl" for step in range(1, steps + 1)]
    return [record for file in files for record in read_episodes(file)]


HELPERS = (
    "team.use_access_summary=true", "summarizer.kind=rollout", "judge.kind=llm",
    "judge_policy.kind=rollout", "judge.cache=null", "rl.steps=3", "rl.log_tokens=4",
    "rl.schedule.kind=async", "rl.schedule.max_staleness=1",
)  # fmt: skip


async def test_the_model_in_training_judges_and_summarizes(tmp_path: Path) -> None:
    given = settings(tmp_path, *HELPERS)
    config = load_config(TrainConfig, given)
    (second,) = PromptSampler(load_tasks(config.data), per_step=1, seed=config.rl.seed).at(1)
    engine = OneModel(vocab_size=4000, label="0", late_verdicts=second.id)
    folder = await run(engine, given)
    judged = episodes(folder, 3)
    assert len(judged) == 12
    rewards: dict[bool, set[float]] = {True: set(), False: set()}
    for record in judged:
        right = f"| {RIGHT} |" in record.episode.answer
        assert record.score is not None
        assert record.reward is not None
        assert [cell.score for cell in record.score.cells if cell.by == "judge"] == [right]
        (agent,) = record.episode.trajectories
        assert [result.text for result in agent.turns[0].results] == [SUMMARY]
        rewards[right].add(record.reward)
    assert min(rewards[True]) > max(rewards[False])
    assert {(one.use, one.temperature) for one in engine.asked} == {
        ("agent", 1.0), ("agent", 0.5), ("judge", 0.0), ("summary", 0.0)
    }  # fmt: skip
    assert {one.label for one in engine.asked if one.use == "judge"} >= {"0", "3"}
    assert engine.across_pauses
    (after,) = load_run(folder / "after").results
    assert after.outcome == "scored"
    check_trained(folder)


def check_trained(folder: Path) -> None:
    """That the agents' own turns are trained on, and neither verdicts nor summaries."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, lines) if "reward/mean" in row]
    for number, row in enumerate(steps, 1):
        assert row["update/updates"] == 1
        assert row["update/tokens_trained"] == row["tokens/generated"]
        assert row["usage/judge/response_tokens"] > 0
        for rollout in read_token_records(folder / "tokens" / f"step_{number:06d}.jsonl"):
            assert [bool(turn.weight) for turn in rollout.turns] == [True, True]
            starts = ["".join(turn.texts)[:8] for turn in rollout.turns]
            assert starts == ["<tool_ca", "| Moon |"]


async def test_servers_that_run_already_are_sent_the_weights_that_training_starts_with(
    tmp_path: Path,
) -> None:
    engine = OneModel(vocab_size=4000, label="7", right=REFERENCE)
    given = settings(tmp_path)
    await run(engine, [*given, "rl.steps=1"])
    before, *first = [one for one in engine.asked if one.temperature in (0.5, 1.0)]
    assert (before.label, before.temperature) == ("0", 0.5)
    trained = [one for one in first if one.temperature == 1.0]
    start = load_file(local_folder("start") / "model.safetensors")[EMBEDDING]
    sent = start.to(torch.bfloat16).view(torch.uint8).numpy().tobytes()
    assert {(one.label, one.embedding == sent) for one in trained} == {("0", True)}
    engine.label, engine.weights[EMBEDDING], seen = "7", b"of another run", len(engine.asked)
    await run(engine, [*given, "rl.steps=2"])
    resumed = [one for one in engine.asked[seen:] if one.temperature == 1.0]
    assert {one.label for one in resumed} == {"1"}
    assert b"of another run" not in {one.embedding for one in resumed}
