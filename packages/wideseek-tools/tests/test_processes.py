import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from wideseek_core.errors import CorruptFile
from wideseek_tools.index.build import build_index
from wideseek_tools.index.search import IndexSearch


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "pages.jsonl"
    rows = [{"url": f"http://a.org/{n}", "contents": f"moon {n} of {n % 7}"} for n in range(50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build_index(None, path, tmp_path / "index")
    return tmp_path / "index"


def children() -> set[int]:
    return {int(one) for one in Path("/proc/thread-self/children").read_text().split()}


async def test_processes_find_what_a_thread_finds(index: Path) -> None:
    queries = [f"moon {n}" for n in range(60)]
    async with IndexSearch(index) as thread, IndexSearch(index, processes=2) as processes:
        expected = await asyncio.gather(*[thread.hits(query, 5) for query in queries])
        assert await asyncio.gather(*[processes.hits(query, 5) for query in queries]) == expected


async def test_killed_process_is_replaced_and_ends_with_the_search(index: Path) -> None:
    before = children()
    async with IndexSearch(index, processes=1) as search:
        (process,) = children() - before
        os.kill(process, signal.SIGKILL)
        assert (await search.hits("moon 3", 1))[0][0].id == "4"
        (another,) = children() - before
        assert another != process
    assert children() == before


async def test_process_that_can_not_start_says_why(index: Path) -> None:
    search = IndexSearch(index, processes=1)
    shutil.rmtree(index / "shard")
    with pytest.raises(CorruptFile, match="the shard can't be opened"):
        async with search:
            pass
