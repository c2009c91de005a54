"""What this process spends on a turn of a real rollout: CPU time, turns a second, and on what.

Teams answer questions of the atlas with real prompts, search, pages and judge, by token ids over
HTTP. The server is a stub in a process of its own, with the route that servers of a training run
have; it answers every prompt with what the scripted teacher says there. So the rollouts are good
ones, and nothing is measured but the client.

    python tests/benchmarks/bench_rollouts.py [--quick] [--model FOLDER] [--pages F --corpus F]

`turns/s of a core` is how many turns a second one core can drive; the stub takes another core.
"""

import argparse
import asyncio
import json
import multiprocessing
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from bench_orchestration import Measured, cpu_of
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer, ScriptedPolicy, Team, TokenPolicy
from wideseek_agents.engines import VllmServersConfig, open_servers
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_apps.world import AtlasWorld, CorpusWorld, open_world
from wideseek_core import Episode, Policy, Sampling, Task
from wideseek_core.garbage import rare_garbage_collection
from wideseek_core.progress import show
from wideseek_core.testing.http_server import HttpServer, Request, Response
from wideseek_data.atlas import load_wide
from wideseek_data.atlas.teacher import Teacher
from wideseek_judge import JudgeConfig, open_judge
from wideseek_rl import Rollouts
from wideseek_rl.models.start_policy import start_policy
from wideseek_tools.open import Tools

GROUP_SIZE = 8
CONTEXT_TOKENS = 8192
SAMPLED_EVERY_S = 0.001
PARTS: Mapping[str, tuple[str, ...]] = {
    "HTTP": (
        "aiohttp",  # also of `wideseek_core/aiohttp_sender.py`
        "yarl",
        "httpx2",
        "httpcore",
        "h11",
        "wideseek_core/http.py",
    ),
    "requests to engines": ("wideseek_agents/engines", "wideseek_core/limiter.py"),
    "token ids": ("wideseek_agents/tokens.py", "wideseek_agents/policies", "tokenizers"),
    "search and pages": ("wideseek_tools",),
    "agents": ("wideseek_agents",),
    "judge": ("wideseek_judge", "wideseek_core/tables.py"),
    "event loop": ("asyncio", "anyio", "selectors.py"),
}
"""Where files belong whose frames are sampled; the innermost frame that is listed decides."""

Answers = Mapping[tuple[int, ...], tuple[int, ...]]
"""What is said to each prompt."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What rollouts need."""

    tools: Tools
    tokenizer: ChatTokenizer
    tasks: Sequence[Task]
    teacher: Teacher

    def team(self, policy: Policy) -> Team:
        """A team over a policy."""
        return Team(ATLAS_TEAM, policy, self.tools.search, self.tools.pages)


async def recorded(world: World) -> dict[tuple[int, ...], tuple[int, ...]]:
    """What the teacher says in every turn of its rollouts."""
    policy = ScriptedPolicy(world.teacher.respond, world.tokenizer, context_tokens=CONTEXT_TOKENS)
    team = world.team(policy)
    episodes = await asyncio.gather(*(team.run(task) for task in world.tasks))
    turns = [turn for one in episodes for agent in one.trajectories for turn in agent.turns]
    return {turn.prompt_ids: turn.response_ids for turn in turns}


async def serve_forever(answers: Answers, turn_s: float, port: Connection) -> None:
    """Answers every prompt after a pause."""
    bodies = {
        prompt: json.dumps(
            {
                "ids": ids,
                "logprobs": [-0.12345678901234 - place / 1000 for place in range(len(ids))],
                "finish_reason": "stop",
                "weight_versions": [{"version": "0", "start": 0, "end": len(ids)}],
                "cached_tokens": len(prompt) // 2,
            }
        ).encode()
        for prompt, ids in answers.items()
    }
    card = {"id": "policy", "max_model_len": CONTEXT_TOKENS}

    async def handle(request: Request) -> Response:
        server.requests.clear()
        if request.method == "GET":
            return Response.of({"data": [card]})
        body = bodies[tuple(request.json()["token_ids"])]
        await asyncio.sleep(turn_s)
        return Response(body=body)

    server = HttpServer(handle)
    async with server:
        port.send(server.url)
        await asyncio.Event().wait()


def serve(answers: Answers, turn_s: float, port: Connection) -> None:
    """The process of the stub."""
    asyncio.run(serve_forever(answers, turn_s, port))


@contextmanager
def busy_thread(kind: str) -> Generator[None]:
    """A thread beside the event loop, as a trainer is one: it runs Python, or launches kernels."""
    ended = threading.Event()

    def compute() -> None:
        value = 0
        while not ended.is_set():
            value += 1

    def launch() -> None:
        import torch  # only here: it takes seconds

        value = torch.zeros(64)
        while not ended.is_set():
            for _ in range(100):
                value = value * 1.0001 + 1.0

    if kind == "nothing":
        yield
        return
    thread = threading.Thread(target={"python": compute, "torch": launch}[kind])
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def sampled(parts: Counter[str], lines: Counter[str]) -> Generator[None]:
    """Counts in which part of the code the process spends its time, by samples of CPU time."""

    def take(_signal: int, frame: FrameType | None) -> None:
        inner = frame
        while frame is not None:
            name = frame.f_code.co_filename
            for part, places in PARTS.items():
                if any(place in name for place in places):
                    parts[part] += 1
                    short = "/".join(name.split("/")[-2:])
                    own = inner if inner is not None else frame
                    lines[f"{part}: {short} {frame.f_code.co_qualname} ({own.f_code.co_name})"] += 1
                    return
            frame = frame.f_back
        parts["the rest"] += 1

    before = signal.signal(signal.SIGPROF, take)
    signal.setitimer(signal.ITIMER_PROF, SAMPLED_EVERY_S, SAMPLED_EVERY_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


async def driven(world: World, url: str, concurrent: int) -> tuple[Measured, Sequence[float]]:
    """Groups of rollouts on the stub, and their scores."""
    config = VllmServersConfig(
        base_urls=(url,), route="arrays", check_logprobs=False, max_running=512
    )
    vocab = world.tokenizer.vocab_size
    async with open_servers(config, vocab_size=vocab) as engine, open_judge(JudgeConfig()) as judge:
        policy = TokenPolicy(
            engine,
            world.tokenizer,
            context_tokens=CONTEXT_TOKENS,
            sampling=Sampling(max_tokens=640),
        )
        team = world.team(policy)

        async def run(task: Task, trial: int, seed: int) -> Episode:
            return await team.run(task, trial, seed)

        rollouts = Rollouts(run, judge, group_size=GROUP_SIZE, max_concurrent=concurrent)
        started, cpu = time.perf_counter(), time.thread_time()
        groups = await rollouts.collect(world.tasks, 0)
        wall_s, cpu_s = time.perf_counter() - started, time.thread_time() - cpu
    scored = [one for group in groups for one in group]
    failed = [one.episode.error for one in scored if one.episode.error]
    assert not failed, failed[0]
    turns = sum(len(agent.turns) for one in scored for agent in one.episode.trajectories)
    return (
        Measured(turns=turns, wall_s=wall_s, cpu_s=cpu_s),
        [one.score.value for one in scored],
    )


async def run(given: argparse.Namespace) -> None:
    """Records, serves, measures and shows."""
    plans = load_wide("dev", limit=4 if given.quick else given.questions, min_rows=4, max_rows=12)
    place = AtlasWorld()
    if given.pages is not None:
        place = CorpusWorld(pages=given.pages, corpus=given.corpus)
    tokenizer = ChatTokenizer(Tokenizer.from_file(str(given.model / "tokenizer.json")))
    async with open_world(place) as tools:
        world = World(
            tools=tools,
            tokenizer=tokenizer,
            tasks=[plan.task for plan in plans],
            teacher=Teacher(plans),
        )
        answers = await recorded(world)
        lengths = [[len(ids) for ids in side] for side in (answers, answers.values())]
        means = [sum(side) / len(side) for side in lengths]
        show(f"{len(answers)} prompts of {means[0]:.0f} tokens, answers of {means[1]:.0f}")
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        stub = context.Process(target=serve, args=(answers, given.turn_s, theirs))
        stub.start()
        theirs.close()  # so that a stub that fails is noticed
        try:
            await measured(world, ours.recv(), given, stub.pid)
        finally:
            stub.kill()
            stub.join()


async def measured(world: World, url: str, given: argparse.Namespace, stub: int | None) -> None:
    """Runs without samples, then one with them for the parts."""
    for _ in range(given.repeat):
        busy = cpu_of(stub)
        with busy_thread(given.beside):
            found, scores = await driven(world, url, given.concurrent)
        show(
            f"{found.turns} turns, {found.cpu_per_1000:.3f} ms of CPU each, "
            f"{found.turns_per_s:.0f} turns/s, turns/s of a core {1000 / found.cpu_per_1000:.0f}; "
            f"stub busy {(cpu_of(stub) - busy) / found.wall_s:.0%}, "
            f"score {sum(scores) / len(scores):.2f}"
        )
    parts, lines = Counter[str](), Counter[str]()
    with sampled(parts, lines):
        found, _ = await driven(world, url, given.concurrent)
    total = parts.total()
    for part, count in parts.most_common():
        share = count / total
        show(f"{part:24}{share:7.1%}{share * found.cpu_per_1000:9.3f} ms a turn")
    for line, count in lines.most_common(given.lines):
        show(f"{count / total:7.1%} {line}")


def main() -> None:
    """Measures and shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few questions")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--concurrent", type=int, default=64, help="rollouts at a time")
    parser.add_argument("--turn-s", type=float, default=0.05, help="pause of the stub in a turn")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--beside", choices=("nothing", "python", "torch"), default="nothing")
    parser.add_argument("--often", action="store_true", help="Python's own garbage collection")
    parser.add_argument("--switch-s", type=float, default=sys.getswitchinterval())
    parser.add_argument("--lines", type=int, default=0, help="functions to show beside the parts")
    parser.add_argument("--model", type=Path, default=start_policy(), help="with the tokenizer")
    parser.add_argument("--pages", type=Path, help="another world than the atlas alone")
    parser.add_argument("--corpus", type=Path, help="its passages")
    given = parser.parse_args()
    sys.setswitchinterval(given.switch_s)
    often = nullcontext() if given.often else rare_garbage_collection()
    with often:
        asyncio.run(run(given))


if __name__ == "__main__":
    main()
