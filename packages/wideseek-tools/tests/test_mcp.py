from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import Client
from mcp.types import CallToolResult, TextContent

from wideseek_core.search import Document, Page
from wideseek_tools import MemoryPages, MemorySearch, Tools
from wideseek_tools.mcp import make_server

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
    assert text.endswith("[10000 more characters]")


async def test_unknown_page_is_an_error_the_model_can_read() -> None:
    failed, text = await call("access", url="http://a.org/none")
    assert failed
    assert "no page at 'http://a.org/none'" in text
