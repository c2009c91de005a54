import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import Client
from mcp.types import CallToolResult, TextContent

from wideseek_core.ports import free_port
from wideseek_core.search import Document, Page
from wideseek_tools import MemoryPages, MemorySearch, Tools
from wideseek_tools.mcp import make_server
from wideseek_tools.schemas import ACCESS, SEARCH

TOOLS = Tools(
    MemorySearch([Document(url="http://a.org/io", title="Io", text="A moon.")]),
    MemoryPages([Page(url="http://a.org/io", text="x" * 30_000, title="Io")]),
)


async def call(name: str, **arguments: Any) -> tuple[bool, str]:
    async with Client(make_server(TOOLS)) as client:
        result = await client.call_tool(name, arguments)
    assert isinstance(result, CallToolResult)
    (content,) = result.content
    assert isinstance(content, TextContent)
    return bool(result.is_error), content.text


async def test_tools_are_listed() -> None:
    async with Client(make_server(TOOLS)) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names == ["search", "access"]


async def test_search_and_access() -> None:
    assert await call("search", query="moon") == (False, "[1] Io\nhttp://a.org/io\nA moon.")
    failed, text = await call("access", url="a.org/io")
    assert not failed
    assert text.startswith("Io\nhttp://a.org/io\n\nxxx")
    assert text.endswith("[10000 more characters: read on with offset=20000]")


async def test_a_long_page_is_read_to_its_end() -> None:
    _, text = await call("access", url="http://a.org/io", offset=20_000)
    assert text == "Io\nhttp://a.org/io\n\n" + "x" * 10_000
    _, text = await call("access", url="http://a.org/io", offset=40_000)
    assert text.endswith("[the page has 30000 characters]")


async def test_parameters_are_described_and_bounded_as_elsewhere() -> None:
    async with Client(make_server(TOOLS)) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for spec in (SEARCH, ACCESS):
        stated = tools[spec.name].input_schema["properties"]
        given: Any = spec.parameters["properties"]
        assert stated.keys() == given.keys()
        for name, expected in given.items():
            found = {key: value for key, value in stated[name].items() if key != "title"}
            assert found == expected
        assert tools[spec.name].input_schema["required"] == spec.parameters["required"]


@pytest.mark.parametrize("topk", [0, 1000, "2", 2.0])
async def test_numbers_out_of_bounds_are_cut(topk: object) -> None:
    failed, text = await call("search", query="moon", topk=topk)
    assert (failed, text[:6]) == (False, "[1] Io")


async def test_the_server_over_http(tmp_path: Path) -> None:
    pages = tmp_path / "pages.jsonl"
    pages.write_text('{"url": "http://a.org/io", "title": "Io", "contents": "A moon."}\n')
    port = free_port()
    settings = [f"search.pages={pages}", "search.kind=memory", "pages.kind=memory"]
    settings += [f"pages.path={pages}", "transport=http", f"port={port}"]
    command = [sys.executable, "-m", "wideseek_tools.cli", "mcp", *settings]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        for _ in range(3000):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.1)
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            result = await client.call_tool("search", {"query": "moon"})
        assert isinstance(result, CallToolResult)
        assert "A moon." in str(result.content)
    finally:
        process.terminate()
        await process.wait()


async def test_unknown_page_is_an_error_the_model_can_read() -> None:
    failed, text = await call("access", url="http://a.org/none")
    assert failed
    assert "no page at 'http://a.org/none'" in text
