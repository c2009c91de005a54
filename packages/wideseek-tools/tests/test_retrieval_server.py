"""The client of retrieval servers, against this package's server and against stubs."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from loopback import Reply, Request, Stub, reply

from wideseek_core.errors import ConfigError, ToolUnavailable
from wideseek_tools import ToolsConfig, open_tools
from wideseek_tools.addresses import announced, reachable_address, read_addresses
from wideseek_tools.backends.retrieval_server import (
    ServerConfig,
    ServerPagesConfig,
    addresses,
    open_server,
)
from wideseek_tools.index.cli import main as index_main

ONCE: dict[str, Any] = {"max_attempts": 1, "timeout_s": 300.0}
HIT = {"document": {"id": "1", "url": "u", "contents": "x"}, "score": 1.0}


def test_own_servers_have_no_rate_limit_and_no_bound_on_the_queue() -> None:
    for config in (ServerConfig(), ServerPagesConfig()):
        assert config.max_requests_per_s is None
        assert config.queue_timeout_s is None


async def test_thousands_of_searches_at_once_are_all_answered(stub: Stub) -> None:
    stub.answers([reply({"result": [[HIT]]})])
    config = ServerConfig(base_url=stub.url, deadline_s=300.0, timeout_s=300.0)
    async with open_server(config) as search:
        found = await asyncio.gather(*(search.search(str(number), 1) for number in range(3000)))
    assert all(len(documents) == 1 for documents in found)


async def test_several_servers_share_the_work_and_stand_in_for_each_other(stub: Stub) -> None:
    async with Stub() as other:
        for server in (stub, other):
            server.answers([reply({"result": [[HIT]]})])
        config = ServerConfig(base_url=stub.url, more_base_urls=(other.url,), **ONCE)
        async with open_server(config) as search:
            await asyncio.gather(*(search.search(str(number), 1) for number in range(20)))
            assert len(stub.requests) == len(other.requests) == 10
            other.answers([reply({}, 500)])
            found = await asyncio.gather(*(search.search(str(number), 1) for number in range(20)))
            assert all(len(documents) == 1 for documents in found)
            stub.answers([reply({}, 500)])
            with pytest.raises(ToolUnavailable):
                await search.search("x", 1)


@pytest.mark.parametrize(
    "answer", [{}, {"result": None}, {"error": "no index"}, {"detail": "busy"}, {"result": []}, []]
)
async def test_an_answer_without_a_result_is_a_failure(stub: Stub, answer: object) -> None:
    stub.answers([reply(answer)])
    async with open_server(ServerConfig(base_url=stub.url, **ONCE)) as search:
        with pytest.raises(ToolUnavailable):
            await search.search("x", 1)


async def test_a_busy_server_is_asked_again(stub: Stub) -> None:
    def handler(request: Request) -> Reply:
        if len(stub.requests) < 3:
            return reply({"detail": "busy"}, 503, retry_after="0")
        return reply({"result": [[HIT]]})

    stub.handler = handler
    async with open_server(ServerConfig(base_url=stub.url)) as search:
        assert len(await search.search("x", 1)) == 1


def test_addresses_in_files(tmp_path: Path) -> None:
    path = tmp_path / "servers.txt"
    with announced("http://127.0.0.1:1", path):
        with announced("http://[::1]:2", path), announced("http://127.0.0.1:1", tmp_path):
            assert read_addresses(path) == ["http://127.0.0.1:1", "http://[::1]:2"]
            assert read_addresses(tmp_path) == ["http://127.0.0.1:1", "http://[::1]:2"]
        assert addresses(ServerConfig(address_file=path)) == ["http://127.0.0.1:1"]
    with pytest.raises(ConfigError, match="address_file"):
        addresses(ServerConfig(address_file=path))
    path.write_text("10.0.0.1:8000\n")
    assert read_addresses(path) == ["http://10.0.0.1:8000"]
    path.write_text("")
    with pytest.raises(ConfigError, match="no address yet"):
        addresses(ServerConfig(address_file=path))


def test_addresses_that_others_reach() -> None:
    assert reachable_address("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert reachable_address("::1", 80) == "http://[::1]:80"
    assert "0.0.0.0" not in reachable_address("0.0.0.0", 80)


async def test_a_server_announces_its_port_and_serves_a_training_step(tmp_path: Path) -> None:
    rows = [
        {"url": f"http://a.org/{n}", "title": f"T{n}", "contents": f"A moon {n}."} for n in range(3)
    ]
    pages, index, file = tmp_path / "p.jsonl", tmp_path / "index", tmp_path / "address"
    pages.write_text("".join(json.dumps(row) + "\n" for row in rows))
    index_main(["build", str(pages), f"to={index}"])
    command = [sys.executable, "-m", "wideseek_tools.index.cli", "serve", str(index), "port=0"]
    process = await asyncio.create_subprocess_exec(
        *command, f"address_file={file}", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("serving on http://127.0.0.1:")
    assert read_addresses(file) == [line.split()[-1]]
    tools = ToolsConfig(
        search=ServerConfig(address_file=file), pages=ServerPagesConfig(address_file=file)
    )
    async with open_tools(tools) as opened:
        assert len(await opened.search.search("moon", 5)) == 3
        assert (await opened.pages.read("http://a.org/1")).text == "A moon 1."
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert not file.exists()
