"""What the tools withstand: a builder killed 20 times, 10,000 faulty answers, 60 hostile URLs."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "packages" / "wideseek-tools" / "tests"))

from loopback import FAULTS, Reply, Request, Stub, page, reply
from test_fetch import HOSTILE

from wideseek_core.errors import ToolError
from wideseek_core.progress import show
from wideseek_core.search import SearchBackend
from wideseek_tools.backends.brave import BraveConfig
from wideseek_tools.backends.retrieval_server import ServerConfig
from wideseek_tools.backends.searxng import SearxngConfig
from wideseek_tools.backends.serper import SerperConfig
from wideseek_tools.backends.tavily import TavilyConfig
from wideseek_tools.config import SearchConfig
from wideseek_tools.fetch.config import FetchConfig
from wideseek_tools.fetch.fetcher import Fetcher
from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.index.search import IndexSearch
from wideseek_tools.open import open_search

WORDS = [f"word{number}" for number in range(3000)]
DEADLINE_S = 4.0


def write_pages(path: Path, count: int) -> None:
    draw = random.Random(1)
    with path.open("w") as file:
        for number in range(count):
            row = {"url": f"http://a.org/{number}", "contents": " ".join(draw.choices(WORDS, k=60))}
            file.write(json.dumps(row) + "\n")


async def answers(folder: Path) -> list[list[tuple[str, float]]]:
    draw = random.Random(2)
    async with IndexSearch(folder) as search:
        asked = [" ".join(draw.choices(WORDS, k=3)) for _ in range(50)]
        found = [await search.search(query, 5000) for query in asked]
    return [[(one.url, round(one.score, 4)) for one in each] for each in found]


def kill_builder(kills: int, pages_count: int) -> None:
    settings = IndexConfig(batch=200, checkpoint=1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = folder / "pages.jsonl"
        write_pages(pages, pages_count)
        started = time.perf_counter()
        build_index(None, pages, folder / "whole", settings)
        whole_s = time.perf_counter() - started
        expected, draw, equal = asyncio.run(answers(folder / "whole")), random.Random(3), 0
        command = [sys.executable, __file__, "--build", str(pages)]
        phases: Counter[str] = Counter()
        for number in range(kills):
            to = folder / f"killed-{number}"
            process = subprocess.Popen([*command, str(to)])
            work = folder / f".killed-{number}.building"
            while process.poll() is None and not work.exists():
                time.sleep(0.01)
            time.sleep(draw.random() * whole_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
            phases[_phase(to, work)] += 1
            build_index(None, pages, to, settings)
            equal += asyncio.run(answers(to)) == expected
    show(
        f"builder killed {kills} times ({dict(phases)}): {equal} resumed builds equal the whole one"
    )


def _phase(to: Path, work: Path) -> str:
    if to.exists():
        return "done"
    if not (work / "progress.json").exists():
        return "reading"
    return "indexing" if (work / "shard").exists() else "storing"


async def faulty_answers(count: int) -> None:
    outcomes: Counter[str] = Counter()
    longest = 0.0
    draw, faults = random.Random(4), list(FAULTS.values())
    good = reply({"organic": [], "results": [], "web": {"results": []}, "result": [[]]})
    for name in ("SERPER_API_KEY", "BRAVE_API_KEY", "TAVILY_API_KEY"):
        os.environ[name] = "test"
    async with Stub() as stub, AsyncExitStack() as stack:
        stub.handler = lambda request: draw.choice([*faults, good])
        settings: dict[str, Any] = {
            "base_url": stub.url,
            "timeout_s": 1.0,
            "deadline_s": DEADLINE_S,
            "max_attempts": 2,
            "max_requests_per_s": None,
            "max_bytes": 10**6,
            "max_concurrent": 64,
        }
        configs: list[SearchConfig] = [
            SerperConfig(**settings),
            BraveConfig(**settings),
            TavilyConfig(**settings),
            SearxngConfig(**settings),
            ServerConfig(**settings),
        ]
        backends = [await open_search(config, stack) for config in configs]

        async def ask(backend: SearchBackend) -> None:
            nonlocal longest
            started = time.perf_counter()
            try:
                await backend.search("io", 3)
                outcomes["result"] += 1
            except ToolError as error:
                outcomes[type(error).__name__] += 1
            longest = max(longest, time.perf_counter() - started)

        async def worker() -> None:
            while len(stub.requests) < count:
                await ask(draw.choice(backends))

        started = time.perf_counter()
        await asyncio.gather(*[worker() for _ in range(100)])
        spent = time.perf_counter() - started
    show(f"{len(stub.requests)} answers, most of them faulty, in {spent:.0f} s: {dict(outcomes)}")
    show(f"every call ended in a result or a ToolError; longest {longest:.1f} s")


async def hostile_urls() -> None:
    refused: Counter[str] = Counter()
    async with Stub() as stub:
        bodies = {
            "/endless": Reply(200, b"x" * 65536, {"content-type": "text/html"}, endless=True),
            "/huge": page("x" * 10_000_000),
            "/pdf": page("%PDF", "application/pdf"),
            "/image": page("x", "image/png"),
            "/slow": Reply(200, b"x", {"content-type": "text/html"}, delay_s=9.0),
        }

        def handler(request: Request) -> Reply:
            to = request.params.get("to")
            return Reply(302, b"", {"location": to}) if to else bodies[request.path]

        stub.handler = handler
        config = FetchConfig(
            robots=False,
            timeout_s=1.0,
            deadline_s=30.0,
            max_attempts=1,
            max_bytes=100_000,
            max_requests_per_s=None,
            ports=(80, 443, stub.port),
            allowed_hosts=("127.0.0.1",),
        )
        urls = [stub.url + path for path in bodies]
        hosts = [url for url in HOSTILE if "127.0.0.1/" not in url]
        urls += hosts + [f"{stub.url}/?to={url}" for url in hosts]
        async with Fetcher(config) as fetcher:
            for url in urls:
                try:
                    await fetcher.read(url)
                    refused["READ"] += 1
                except ToolError as error:
                    refused[type(error).__name__] += 1
    show(f"{len(urls)} hostile URLs: {dict(refused)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", nargs=2, metavar=("PAGES", "TO"))
    given = parser.parse_args()
    if given.build:
        pages, to = map(Path, given.build)
        build_index(None, pages, to, IndexConfig(batch=200, checkpoint=1000))
        return
    kill_builder(3 if given.quick else 20, 5_000 if given.quick else 30_000)
    asyncio.run(faulty_answers(500 if given.quick else 10_000))
    asyncio.run(hostile_urls())


if __name__ == "__main__":
    main()
