"""A thousand agents at once: in one process, and over loopback HTTP against a stub engine.

In process, the model of a turn is a pause; the ratio is of wall time to the critical path (the
turns that wait for one another). Over HTTP, one event loop is compared with thread pools that run
one event loop for each agent, against the same stub in the same run.

    python tests/benchmarks/bench_orchestration.py [--quick]
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from wideseek_agents import (
    ChatPolicy,
    ChatPolicyConfig,
    PromptSet,
    ScriptedPolicy,
    Team,
    TeamConfig,
)
from wideseek_core import Document, Episode, Message, Page, TableGold, Task, ToolSpec

SUBAGENTS = 10
LEAD_TURNS, SUBAGENT_TURNS = 2, 3
GOLD = TableGold(text="", key_columns=("A",), required_columns=("A",))
TASK = Task(id="t", question="List the moons of Neptune with their radius.", gold=GOLD)
REPORT = "Triton has a radius of 1353 km."


class Web:
    """One page."""

    async def search(self, query: str, k: int) -> list[Document]:
        return [Document(url="https://moons.example", title="Moons", text=REPORT)]

    async def read(self, url: str) -> Page:
        return Page(url=url, text=REPORT)


def call(name: str, arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def write(turn: int, *, leads: bool) -> str:
    """What the model says in a turn."""
    if leads:
        subtasks = [{"prompt": f"subtask {number}"} for number in range(SUBAGENTS)]
        return [call("create_sub_agents", {"sub_agents": subtasks}), "| A |"][turn]
    query, url = {"query": "Triton"}, {"url": "https://moons.example", "info_to_extract": "radius"}
    return [call("search", query), call("access", url), REPORT][turn]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What some agents took."""

    turns: int
    wall_s: float
    cpu_s: float

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds of 1,000 turns."""
        return 1000 * self.cpu_s / self.turns


async def in_process(subagents: int, turn_s: float) -> Measured:
    """Leads with ten subagents each, all at once; a turn of a model is a pause."""

    async def respond(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        await asyncio.sleep(turn_s)
        turn = sum(message.role == "assistant" for message in messages)
        return write(turn, leads=tools[0].name == "create_sub_agents")

    team = Team(TeamConfig(prompts="compact"), ScriptedPolicy(respond), Web(), Web())
    started, cpu = time.perf_counter(), time.process_time()
    rollouts = [team.run(TASK, trial=trial) for trial in range(subagents // SUBAGENTS)]
    episodes = await asyncio.gather(*rollouts)
    return Measured(
        turns=count_turns(episodes),
        wall_s=time.perf_counter() - started,
        cpu_s=time.process_time() - cpu,
    )


def count_turns(episodes: Sequence[Episode]) -> int:
    """All turns; every rollout has to have ended well."""
    assert all(not a.status.failed for episode in episodes for a in episode.trajectories)
    return sum(len(agent.turns) for episode in episodes for agent in episode.trajectories)


async def serve_forever(turn_s: float, port: Connection) -> None:
    """A chat endpoint that answers every request after a pause."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().lower().split("\r\n")
            length = next(int(x.partition(":")[2]) for x in lines if x.startswith("content-length"))
            messages = json.loads(await reader.readexactly(length))["messages"]
            await asyncio.sleep(turn_s)
            turn = sum(message["role"] == "assistant" for message in messages)
            choice = {
                "message": {"role": "assistant", "content": write(turn, leads=False)},
                "finish_reason": "stop",
            }
            usage = {"prompt_tokens": 100, "completion_tokens": 20}
            body = json.dumps({"choices": [choice], "usage": usage}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )

    async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(safely, "127.0.0.1", 0, backlog=2048)
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(turn_s: float, port: Connection) -> None:
    """The process of the stub."""
    asyncio.run(serve_forever(turn_s, port))


PROMPTS = PromptSet.load("compact")


async def agent(policy: ChatPolicy, trial: int) -> Episode:
    """One single agent on the stub."""
    config = TeamConfig(prompts="compact", workflow="single_agent")
    return await Team(config, policy, Web(), Web(), prompts=PROMPTS).run(TASK, trial=trial)


def one_loop(config: ChatPolicyConfig, agents: int) -> list[Episode]:
    """All agents in one event loop, with one client."""

    async def run() -> list[Episode]:
        async with ChatPolicy(config) as policy:
            return await asyncio.gather(*(agent(policy, trial) for trial in range(agents)))

    return asyncio.run(run())


def thread_pool(config: ChatPolicyConfig, agents: int, threads: int) -> list[Episode]:
    """Each agent in an event loop of its own, in a pool of threads."""

    async def run(trial: int) -> Episode:
        async with ChatPolicy(config) as policy:
            return await agent(policy, trial)

    def blocking(trial: int) -> Episode:
        return asyncio.run(run(trial))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(blocking, range(agents)))


def over_http(run: Callable[[], list[Episode]]) -> Measured:
    """What agents over HTTP take."""
    started, cpu = time.perf_counter(), time.process_time()
    turns = count_turns(run())
    return Measured(
        turns=turns, wall_s=time.perf_counter() - started, cpu_s=time.process_time() - cpu
    )


def cpu_of(process: int | None) -> float:
    """CPU seconds that a process has taken, by the files of Linux."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show_in_process(subagents: int) -> None:
    for turn_s in (1.0, 0.05):
        found = asyncio.run(in_process(subagents, turn_s))
        path = (LEAD_TURNS + SUBAGENT_TURNS) * turn_s
        sys.stdout.write(
            f"{subagents} subagents, {turn_s * 1000:.0f} ms a turn: {found.turns} turns, wall "
            f"{found.wall_s:.2f} s = {found.wall_s / path:.2f} x critical path, "
            f"{found.cpu_per_1000:.3f} CPU s / 1,000 turns\n"
        )


def show_http(agents: int, turn_s: float) -> None:
    ours, theirs = multiprocessing.Pipe()
    stub = multiprocessing.get_context("spawn").Process(target=serve, args=(turn_s, theirs))
    stub.start()
    try:
        config = ChatPolicyConfig(
            model="stub", base_url=f"http://127.0.0.1:{ours.recv()}/v1", max_concurrent=1000
        )
        runs: list[tuple[str, Measured]] = [
            ("one event loop", over_http(lambda: one_loop(config, agents)))
        ]
        stub_share = cpu_of(stub.pid) / runs[0][1].wall_s
        # A client of an agent of its own needs few connections: it is not charged for more.
        small = config.model_copy(update={"max_concurrent": 4})
        for threads in (4, 64):
            few = min(agents, threads * 25)  # enough for a steady rate
            found = over_http(lambda n=few, t=threads: thread_pool(small, n, t))
            runs.append((f"a loop an agent, {threads} threads", found))
    finally:
        stub.kill()
        stub.join()
    sys.stdout.write(f"the stub was busy for {stub_share:.0%} of the first run\n")
    first = runs[0][1]
    for name, found in runs:
        rate = found.turns / found.wall_s
        ratio = (first.turns / first.wall_s) / rate
        sys.stdout.write(
            f"HTTP, {turn_s * 1000:.0f} ms a turn, {name:28} {rate:7.0f} turns/s "
            f"(ours is {ratio:.1f} x), {found.cpu_per_1000:.2f} CPU s / 1,000 turns\n"
        )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the agents")
    agents = 200 if parser.parse_args().quick else 1000
    show_in_process(agents)
    show_http(agents, 0.05)
    show_http(agents, 1.0)


if __name__ == "__main__":
    main()
