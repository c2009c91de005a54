"""Training runs on two fake vLLM servers, one of which fails: no prompt is lost or repeated.

Only what is never answered has a short time-out.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wideseek_agents.engines import EnginePool, VllmServersConfig, open_servers
from wideseek_agents.engines.placement import State
from wideseek_core import (
    Episode,
    Finish,
    Generated,
    Sampling,
    Score,
    ScoreState,
    Task,
    TextGold,
    TextMetrics,
    TrainError,
    Turn,
    one_version,
)
from wideseek_core.testing import FakeEngine, FakeVllm, Response, until
from wideseek_rl import (
    RLConfig,
    Rollouts,
    TrainingLoop,
    TrainingSample,
    TrainSummary,
    UpdateMetrics,
)
from wideseek_rl.batch.samples import Floats
from wideseek_rl.engines.control.config import ControlConfig
from wideseek_rl.engines.control.vllm import VllmControl
from wideseek_rl.loop.loggers.protocol import StepReport
from wideseek_rl.rollout.runner import Group
from wideseek_rl.sync.config import SyncConfig
from wideseek_rl.sync.ipc import IpcTransport, VllmIpcWire
from wideseek_rl.sync.servers import ServerSync
from wideseek_rl.sync.source import ModuleSource
from wideseek_rl.testing import make_agent

STEPS, PER_STEP = 5, 3
PROMPTS = STEPS * PER_STEP
STRAGGLER = 4
UNANSWERED = ("hung update", "late answer")
"""Updates that the first server does not answer in time."""
SCHEDULES: dict[str, dict[str, Any]] = {
    "sync": {"kind": "sync"},
    "tail": {"kind": "tail", "extra": 0.7},
    "async": {"kind": "async", "max_staleness": 1},
}
POOL = {
    "backoff_s": 0.0,
    "probe_interval_s": 0.02,
    "probe_timeout_s": 300.0,
    "max_failed_probes": 2,
    "affinity_wait_s": 0.05,
    "outage_timeout_s": 300.0,
    "check_logprobs": False,
}


def as_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


async def hang() -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def refuse() -> Response:
    return Response.of({"detail": "shapes differ"}, 500)


@dataclass
class Drill:
    """A run, the servers it samples on, and what became of its prompts."""

    servers: list[FakeVllm]
    pool: EnginePool
    module: nn.Linear
    sync: ServerSync
    fault: str
    weights: Any = None
    intact = True
    trained: Counter[int] = field(default_factory=Counter[int])
    failed: Counter[int] = field(default_factory=Counter[int])
    requests: int = 0
    updates: int = 0
    later: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    """What the servers do by themselves."""

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    def updates_sent(self, number: int) -> int:
        return self.servers[number].server.paths().count("/update_weights")

    def kill(self) -> None:
        self.later.append(asyncio.ensure_future(self.servers[0].server.kill()))

    async def run_episode(self, task: Task, trial: int, seed: int) -> Episode:
        prompt, session = int(task.id), f"{task.id}/{trial}"
        self.requests += 1
        if self.fault == "killed in a rollout" and self.requests == 8:
            self.kill()
        if self.fault == "straggler" and prompt == STRAGGLER:
            # Its group has a short deadline, within which only what does not wait is sure to end.
            made = await self.straggle() if trial == 0 else self.at_once()
        else:
            sampling = Sampling(max_tokens=6, seed=seed % 2**31)
            made = await self.pool.generate([prompt + 100], session=session, sampling=sampling)
        turn = Turn(
            text=str(trial),
            finish=made.finish,
            prompt_ids=(prompt + 100,),
            response_ids=tuple(made.ids),
            logprobs=tuple(made.logprobs),
            versions=made.versions,
        )
        return Episode(
            task_id=task.id, trial=trial, trajectories=(make_agent(turn),), answer=turn.text
        )

    async def straggle(self) -> Generated:
        """Samples for minutes."""
        sampling = Sampling(max_tokens=100_000, seed=1)
        return await self.pool.generate([STRAGGLER + 100], session="long", sampling=sampling)

    def at_once(self) -> Generated:
        versions = one_version(self.pool.version, 1)
        return Generated(ids=(1,), logprobs=(-1.0,), finish=Finish.LENGTH, versions=versions)

    async def score(self, task: Task, answer: str) -> Score:
        metrics = TextMetrics(correct=float(answer) / 2)
        return Score(state=ScoreState.SCORED, metrics=metrics, format_valid=True)

    async def update(self, samples: Sequence[TrainingSample]) -> UpdateMetrics:
        self.updates += 1
        if self.updates == 2 and self.fault == "killed in an update":
            self.servers[0].faults["/update_weights"] = self.die
        if self.updates == 2 and self.fault in UNANSWERED:
            late = self.fault == "late answer"
            self.servers[0].faults["/update_weights"] = self.take_late if late else hang
            self.sync.servers[0].client.config = ControlConfig(transfer_timeout_s=0.3)
        if self.updates == 2 and self.fault == "refused by all":
            for server in self.servers:
                server.faults["/update_weights"] = refuse
        with torch.no_grad():
            self.module.weight.add_(1.0)
        self.trained.update({int(sample.ids[0]) - 100 for sample in samples})
        return UpdateMetrics(updates=1, samples=len(samples))

    async def die(self) -> Response:
        self.kill()
        return await hang()

    async def take_late(self) -> Response:
        """Takes the weights when the request was given up long ago."""
        server, path = self.servers[0], "/update_weights"
        (*_, request) = [one for one in server.server.requests if one.path == path]

        async def take() -> None:
            await until(lambda: server.url not in self.pool.states)
            await server.routes()["POST", path](request)

        self.later.append(asyncio.ensure_future(take()))
        return await hang()

    async def save(self, folder: Path) -> None:
        torch.save(self.module.weight.detach(), folder / "weights")

    async def load(self, folder: Path) -> None:
        with torch.no_grad():
            self.module.weight.copy_(torch.load(folder / "weights"))

    async def logprobs(self, samples: Sequence[TrainingSample]) -> list[Floats]:
        raise AssertionError("not asked for")

    async def start(self, step: int) -> None: ...

    async def write(self, report: StepReport) -> None:
        self.failed.update(
            int(scored.episode.task_id)
            for group in report.groups
            for scored in group
            if scored.episode.error
        )

    async def close(self) -> None: ...


class ByDeadline:
    """Rollouts of which only those of the straggler's group have a deadline."""

    def __init__(self, made: Drill) -> None:
        run, self.straggler = made.run_episode, str(STRAGGLER) * (made.fault == "straggler")
        self.patient = Rollouts(run, made, group_size=3)
        self.impatient = Rollouts(run, made, group_size=3, rollout_deadline_s=0.5)

    async def collect(self, tasks: Sequence[Task], step: int) -> list[Group]:
        groups = await asyncio.gather(*(self.of(task).collect([task], step) for task in tasks))
        return [group for (group,) in groups]

    def of(self, task: Task) -> Rollouts:
        return self.impatient if task.id == self.straggler else self.patient


@asynccontextmanager
async def drill(fault: str) -> AsyncGenerator[Drill]:
    async with AsyncExitStack() as stack:
        servers = [FakeVllm(version=(0, 32), engine=FakeEngine(label="0")) for _ in range(2)]
        for server in servers:
            server.engine.token_s = 0.001
            await stack.enter_async_context(server.serving())
        urls = tuple(server.url for server in servers)
        config = VllmServersConfig.model_validate({"base_urls": urls, **POOL})
        pool = await stack.enter_async_context(open_servers(config, vocab_size=1000))
        module = nn.Linear(8, 4, bias=False)
        source = ModuleSource(module, torch.bfloat16)
        wire = VllmIpcWire(export=as_bytes, uuid=lambda _: "GPU-0")
        sync = ServerSync(
            pool,
            [VllmControl(url) for url in urls],
            IpcTransport(source, wire, 2**20),
            source,
            SyncConfig(verify="none"),
        )
        yield Drill(servers=servers, pool=pool, module=module, sync=sync, fault=fault)


async def fit(made: Drill, folder: Path, schedule: str) -> TrainSummary:
    values = {
        "prompts_per_step": PER_STEP,
        "group_size": 3,
        "steps": STEPS,
        "schedule": SCHEDULES[schedule],
        "loggers": (),
    }
    gold = TextGold(answers=("x",))
    tasks = [Task(id=str(number), question="?", gold=gold) for number in range(PROMPTS)]
    loop = TrainingLoop(
        RLConfig.model_validate(values),
        made,
        ByDeadline(made),
        folder=folder,
        sync=made.sync,
        loggers=[made],
    )
    return await loop.fit(tasks)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "fault", ["killed in a rollout", "killed in an update", *UNANSWERED, "straggler"]
)
async def test_a_run_survives_a_server_that_fails(
    tmp_path: Path, fault: str, schedule: str
) -> None:
    async with drill(fault) as made, asyncio.timeout(300):
        summary = await fit(made, tmp_path, schedule)
        assert summary.steps == STEPS
        assert made.trained == Counter(range(PROMPTS))
        assert made.failed == ({STRAGGLER: 1} if fault == "straggler" else {})
        if fault == "killed in a rollout":
            assert made.pool.counts.deaths == 1
        ready = [url for url, state in made.pool.states.items() if state is State.READY]
        assert ready == (made.urls if fault == "straggler" else made.urls[1:])
        assert made.pool.version == STEPS
        newest = as_bytes(made.module.weight.detach().bfloat16())
        assert newest in made.servers[1].engine.weights.values()
        assert not made.servers[1].engine.paused
        assert made.updates_sent(1) == STEPS
        if fault in UNANSWERED:
            assert made.updates_sent(0) == 2, "the one that was late is not sent again"
        if fault == "late answer":
            await asyncio.gather(*made.later)
            assert len(made.servers[0].updates) == 2
            assert made.urls[0] not in made.pool.states


@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_an_update_that_every_server_refuses_is_not_lost(
    tmp_path: Path, schedule: str
) -> None:
    async with drill("refused by all") as first, asyncio.timeout(300):
        with pytest.raises(TrainError, match=r"version 2 did not reach the engines: .*shapes"):
            await fit(first, tmp_path, schedule)
    assert first.trained.total() == 2 * PER_STEP
    async with drill("none") as second, asyncio.timeout(300):
        summary = await fit(second, tmp_path, schedule)
        assert (summary.steps, summary.updates, second.updates) == (STEPS, STEPS, STEPS - 2)
        assert first.trained + second.trained == Counter(range(PROMPTS))
        assert second.pool.version == STEPS
    learned = second.module.weight - first.module.weight  # the second run begins with the first's
    assert torch.allclose(learned, torch.full_like(learned, STEPS - 2.0))
