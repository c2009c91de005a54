"""64 clients against two retrieval servers over one index: one query at a time, and micro-batched.

The first encodes and searches each query by itself, one after the other, behind FastAPI's usual
request and response models, as public servers do. The second is `wideseek-index serve`.
"""

import argparse
import asyncio
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wideseek_core.config import cache_folder
from wideseek_core.progress import show
from wideseek_tools.config import Method
from wideseek_tools.index import IndexConfig, build_index

DATA = Path(__file__).parents[3] / "shared" / "data" / "wikitables"
TOPK, CLIENTS, TURNS = 5, 64, 5


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw."""

    per_second: float
    p50_ms: float
    p95_ms: float
    errors: int
    server_ms: float
    """Processor time of the server and its processes per query."""


def serve_plainly(index: Path, method: Method, port: int) -> None:
    """The server of comparison."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from qdrant_edge import Query, QueryRequest, SearchParams

    from wideseek_tools.encoders import open_encoder
    from wideseek_tools.index import read_index
    from wideseek_tools.index.shard import lexical_model, load_shard

    info, shard, app = read_index(index), load_shard(index / "shard"), FastAPI()
    lexical = lexical_model(info.config, info.mean_words)
    encoder = open_encoder(info.config.encoder) if method == "dense" else None

    def find(text: str, k: int) -> list[dict[str, str]]:
        if encoder is None:
            query = Query.Nearest(lexical.embed_query(text), using="bm25")
        else:
            query = Query.Nearest(encoder.encode([text], queries=True)[0], using="dense")
        params = SearchParams(hnsw_ef=256)
        request = QueryRequest(limit=k, query=query, with_payload=True, params=params)
        return [{**(hit.payload or {})} for hit in shard.query(request)]

    class Body(BaseModel):
        queries: list[str]
        topk: int | None = None
        return_scores: bool = False

    @app.post("/retrieve")
    async def retrieve(body: Body) -> dict[str, list[list[dict[str, str]]]]:  # pyright: ignore[reportUnusedFunction]
        loop, result = asyncio.get_running_loop(), list[list[dict[str, str]]]()
        for query in body.queries:
            result.append(await loop.run_in_executor(None, find, query, body.topk or TOPK))
        return {"result": result}

    uvicorn.run(app, host="127.0.0.1", port=port, loop="asyncio", http="h11", log_level="warning")


@contextmanager
def running(command: list[str]) -> Generator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def processor_seconds(pid: int) -> float:
    """Of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    spent = 0
    for one in (pid, *map(int, children)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


class Requests:
    """Requests without end, no query twice, so that no memory of either server helps."""

    def __init__(self) -> None:
        lines = (DATA / "qa_dev.jsonl").read_text("utf-8").splitlines()
        self._parts = [self._split(json.loads(line)["question"]) for line in lines]
        self._numbers = itertools.count()

    def _split(self, question: str) -> tuple[bytes, bytes]:
        body = json.dumps({"queries": [f"{question} 00000000"], "topk": TOPK}).encode()
        head = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        front, _, back = body.rpartition(b"00000000")
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), front), back

    def __next__(self) -> bytes:
        number = next(self._numbers)
        front, back = self._parts[number % len(self._parts)]
        return b"%b%08d%b" % (front, number, back)


@dataclass(slots=True)
class Connection:
    """One client: a request, its answer, the next request."""

    socket: socket.socket
    started: float = 0.0
    answer: bytes = b""

    def whole(self) -> bool:
        head, found, body = self.answer.partition(b"\r\n\r\n")
        size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return bool(found) and len(body) >= int(size)


@dataclass(slots=True)
class Crowd:
    """Clients that ask one server. Bare sockets, for a client's work counts against the server."""

    port: int
    requests: Requests
    times: list[float] = field(default_factory=list[float])
    spent: float = 0.0
    server: float = 0.0
    errors: int = 0

    def run(self, clients: int, seconds: float) -> None:
        poll, crowd = select.epoll(), dict[int, Connection]()
        for _ in range(clients):
            one = Connection(socket.create_connection(("127.0.0.1", self.port)))
            one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            crowd[one.socket.fileno()] = one
            poll.register(one.socket, select.EPOLLIN)
        started = time.perf_counter()
        for one in crowd.values():
            self._ask(one)
        waiting = len(crowd)
        while waiting:
            for number, _ in poll.poll():
                one = crowd[number]
                one.answer += one.socket.recv(262_144)
                if not one.whole():
                    continue
                now = time.perf_counter()
                self.times.append(now - one.started)
                self.errors += not one.answer.startswith(b"HTTP/1.1 200")
                if now < started + seconds:
                    self._ask(one)
                else:
                    waiting -= 1
        self.spent += time.perf_counter() - started
        for one in crowd.values():
            one.socket.close()

    def _ask(self, one: Connection) -> None:
        one.answer, one.started = b"", time.perf_counter()
        one.socket.sendall(next(self.requests))

    def measured(self, pid: int, clients: int, seconds: float) -> None:
        used = processor_seconds(pid)
        self.run(clients, seconds)
        self.server += processor_seconds(pid) - used

    def load(self) -> Load:
        times = sorted(self.times)
        return Load(
            per_second=len(times) / self.spent,
            p50_ms=1000 * times[len(times) // 2],
            p95_ms=1000 * times[int(len(times) * 0.95)],
            errors=self.errors,
            server_ms=1000 * self.server / len(times),
        )


def ready(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nothing listens on {port}")


def compare(
    plain: list[str], ours: list[str], ports: tuple[int, int], seconds: float
) -> list[Load]:
    """Both servers run all the time, and take turns, so that a busy machine slows both."""
    requests = Requests()
    with running(plain) as first, running(ours) as second:
        crowds = [Crowd(port, requests) for port in ports]
        for port in ports:
            ready(port)
            Crowd(port, requests).run(4, 1.0)
        for _ in range(TURNS):
            for crowd, pid in zip(crowds, (first, second), strict=True):
                crowd.measured(pid, CLIENTS, seconds / TURNS)
    return [crowd.load() for crowd in crowds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="BM25 only, a few seconds")
    parser.add_argument("--index", type=Path, help="an index built with method=hybrid")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--plain", nargs=3, metavar=("INDEX", "METHOD", "PORT"))
    given = parser.parse_args()
    if given.plain:
        serve_plainly(Path(given.plain[0]), given.plain[1], int(given.plain[2]))
        return
    if not DATA.is_dir():
        show(f"skipped: {DATA} is not here")
        return
    built: Method = "bm25" if given.quick else "hybrid"
    index = given.index or cache_folder() / "bench" / f"wikitables-{built}"
    build_index(None, DATA / "pages.jsonl", index, IndexConfig(method=built))
    seconds = 3.0 if given.quick else given.seconds
    methods: tuple[Method, ...] = ("bm25",) if given.quick else ("bm25", "dense")
    show(f"{'server':24}{'queries/s':>11}{'p50 ms':>9}{'p95 ms':>9}{'errors':>8}{'server ms':>11}")
    for place, method in enumerate(methods):
        port = 8471 + 2 * place
        plain = [sys.executable, __file__, "--plain", str(index), method, str(port)]
        ours = [sys.executable, "-m", "wideseek_tools.index.cli", "serve", str(index)]
        ours += [f"search.method={method}", f"port={port + 1}"]
        found = compare(plain, ours, (port, port + 1), seconds)
        for name, one in zip(("one by one", "batched"), found, strict=True):
            figures = f"{one.per_second:11.0f}{one.p50_ms:9.1f}{one.p95_ms:9.1f}{one.errors:8}"
            figures += f"{one.server_ms:11.2f}"
            show(f"{method + ', ' + name:24}{figures}")
        plainly, batched = found
        faster = batched.per_second / plainly.per_second
        slower = batched.p95_ms / plainly.p95_ms
        cheaper = plainly.server_ms / batched.server_ms
        show(f"{method + ', ratio':24}{faster:10.2f}x{'':9}{slower:8.2f}x{'':8}{cheaper:10.2f}x")


if __name__ == "__main__":
    main()
