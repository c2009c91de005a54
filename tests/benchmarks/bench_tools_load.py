"""64 clients against two retrieval servers over one index: one query at a time, and micro-batched.

The first encodes and searches each query by itself, one after the other, behind FastAPI's usual
request and response models, as public servers do. The second is `wideseek-index serve`.
"""

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wideseek_core.config import cache_folder
from wideseek_core.progress import show
from wideseek_tools.config import Method
from wideseek_tools.index import IndexConfig, build_index

DATA = Path(__file__).parents[3] / "shared" / "data" / "wikitables"
TOPK = 5


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw."""

    per_second: float
    p50_ms: float
    p95_ms: float
    errors: int
    server_ms: float
    """Processor time the server spent per query: what is left of the ratio on a busy machine."""


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


class Client:
    """One kept connection, speaking just enough HTTP to cost little."""

    def __init__(self, port: int, questions: "itertools.cycle[str]") -> None:
        self._port, self._questions = port, questions
        self.seconds: list[float] = []
        self.errors = 0

    async def run(self, until: float, numbers: "itertools.count[int]") -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while time.perf_counter() < until:
            # No question is asked twice, so that no memory of either server helps.
            query = f"{next(self._questions)} {next(numbers)}"
            body = json.dumps({"queries": [query], "topk": TOPK}).encode()
            started = time.perf_counter()
            writer.write(
                b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            self.seconds.append(time.perf_counter() - started)
            self.errors += not head.startswith(b"http/1.1 200")
        writer.close()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(pid: int, port: int, clients: int, seconds: float) -> Load:
    lines = (DATA / "qa_dev.jsonl").open()
    questions = itertools.cycle([json.loads(line)["question"] for line in lines])
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.2)
    numbers = itertools.count()
    warm = [Client(port, questions) for _ in range(4)]
    await asyncio.gather(*[one.run(time.perf_counter() + 1, numbers) for one in warm])
    crowd = [Client(port, questions) for _ in range(clients)]
    used = processor_seconds(pid)
    started = time.perf_counter()
    await asyncio.gather(*[one.run(started + seconds, numbers) for one in crowd])
    spent = time.perf_counter() - started
    used = processor_seconds(pid) - used
    times = sorted(second for one in crowd for second in one.seconds)
    return Load(
        per_second=len(times) / spent,
        p50_ms=1000 * times[len(times) // 2],
        p95_ms=1000 * times[int(len(times) * 0.95)],
        errors=sum(one.errors for one in crowd),
        server_ms=1000 * used / len(times),
    )


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
        found: list[Load] = []
        for name, command, at in (("one by one", plain, port), ("batched", ours, port + 1)):
            with running(command) as pid:
                one = asyncio.run(load(pid, at, 64, seconds))
            found.append(one)
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
