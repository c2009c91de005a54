"""A thousand agents at once: in one process, and over loopback HTTP against a stub engine.

In process, the model of a turn is a pause; the ratio is of wall time to the critical path (the
turns that wait for one another). Over HTTP, one event loop is compared with thread pools that run
one event loop for each agent, against the same stub in the same run.

    python tests/benchmarks/bench_orchestration.py [--quick] [--json FILE]

It takes about three minutes on idle cores, and writes what it prints as JSON too.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
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

    @property
    def turns_per_s(self) -> float:
        """Turns a second of wall time."""
        return self.turns / self.wall_s


Row = dict[str, str | int | float]


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


def in_process_rows(subagents: int) -> Iterator[Row]:
    """The agents of one process, with slow and with fast turns."""
    for turn_s in (1.0, 0.05):
        found = asyncio.run(in_process(subagents, turn_s))
        path = (LEAD_TURNS + SUBAGENT_TURNS) * turn_s
        yield {
            "what": "in process",
            "subagents": subagents,
            "turn_ms": round(turn_s * 1000),
            "turns": found.turns,
            "wall_s": found.wall_s,
            "wall_over_critical_path": found.wall_s / path,
            "cpu_s_per_1000_turns": found.cpu_per_1000,
        }


def http_rows(agents: int, turn_s: float) -> Iterator[Row]:
    """One event loop, and thread pools with one event loop an agent, against one stub."""
    ours, theirs = multiprocessing.Pipe()
    stub = multiprocessing.get_context("spawn").Process(target=serve, args=(turn_s, theirs))
    stub.start()
    try:
        config = ChatPolicyConfig(
            model="stub", base_url=f"http://127.0.0.1:{ours.recv()}/v1", max_concurrent=1000
        )
        first = over_http(lambda: one_loop(config, agents))
        stub_share = cpu_of(stub.pid) / first.wall_s
        yield http_row("one event loop", turn_s, first, first) | {"stub_busy": stub_share}
        # A client of an agent of its own needs few connections: it is not charged for more.
        small = config.model_copy(update={"max_concurrent": 4})
        for threads in (4, 64):
            few = min(agents, threads * 25)  # enough for a steady rate
            found = over_http(lambda n=few, t=threads: thread_pool(small, n, t))
            yield http_row(f"a loop an agent, {threads} threads", turn_s, found, first)
    finally:
        stub.kill()
        stub.join()


def http_row(name: str, turn_s: float, found: Measured, first: Measured) -> Row:
    """What was measured, beside the run of one event loop."""
    return {
        "what": name,
        "turn_ms": round(turn_s * 1000),
        "turns": found.turns,
        "wall_s": found.wall_s,
        "turns_per_s": found.turns_per_s,
        "one_event_loop_over_this": first.turns_per_s / found.turns_per_s,
        "cpu_s_per_1000_turns": found.cpu_per_1000,
    }


def line(row: Row) -> str:
    """A row for a person."""
    cells = [f"{key} {value:.3g}" for key, value in row.items() if isinstance(value, float)]
    kept = [f"{key} {value}" for key, value in row.items() if isinstance(value, int)]
    return f"{row['what']:28} {', '.join([*kept, *cells])}\n"


def main() -> None:
    """Prints the rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the agents")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    given = parser.parse_args()
    agents = 200 if given.quick else 1000
    rows: list[Row] = []
    for row in chain(in_process_rows(agents), http_rows(agents, 0.05), http_rows(agents, 1.0)):
        rows.append(row)
        sys.stdout.write(line(row))
        sys.stdout.flush()
    if given.json is not None:
        load = os.getloadavg()[0]
        result = {"cores": os.cpu_count(), "load_at_the_end": load, "rows": rows}
        given.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
