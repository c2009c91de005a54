"""`wideseek-tools`: search, read, check backends, show schemas, serve MCP."""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from wideseek_core.arguments import split_arguments
from wideseek_core.commands import Command, Program
from wideseek_core.config import exit_on_error, load_config
from wideseek_core.errors import ConfigError
from wideseek_core.extras import require_modules
from wideseek_core.progress import logging_to_console, show
from wideseek_tools.config import ToolsConfig
from wideseek_tools.open import open_tools
from wideseek_tools.schemas import documents_text, openai_tools, page_text

SETTINGS = "[CONFIG.yaml ...] [KEY=VALUE ...]"


class SearchCommand(ToolsConfig):
    """One search."""

    query: str
    """What to look for."""
    topk: int = Field(default=5, ge=1)
    """How many results."""


class AccessCommand(ToolsConfig):
    """One page."""

    url: str
    """The page's address."""
    offset: int = Field(default=0, ge=0)
    """Where to begin in the page, in characters."""
    max_chars: int = Field(default=100_000, ge=1)
    """Characters of the page that are shown."""


class McpCommand(ToolsConfig):
    """An MCP server."""

    transport: Literal["stdio", "http"] = "stdio"
    """`http` is MCP's streamable HTTP, at the path `/mcp`."""
    host: str = "127.0.0.1"
    """Only this machine can connect; there is no login."""
    port: int = Field(default=8000, ge=1, le=65535)


def search(arguments: Sequence[str]) -> None:
    """`wideseek-tools search`."""
    usage = f"wideseek-tools search QUERY {SETTINGS}"
    config = load_config(SearchCommand, arguments, sentence="query", usage=usage)

    async def run() -> None:
        async with open_tools(config, only="search") as tools:
            show(documents_text(await tools.search.search(config.query, config.topk)))

    asyncio.run(run())


def access(arguments: Sequence[str]) -> None:
    """`wideseek-tools access`."""
    usage = f"wideseek-tools access URL {SETTINGS}"
    config = load_config(AccessCommand, arguments, sentence="url", usage=usage)

    async def run() -> None:
        async with open_tools(config, only="pages") as tools:
            show(page_text(await tools.pages.read(config.url), config.max_chars, config.offset))

    asyncio.run(run())


def mcp(arguments: Sequence[str]) -> None:
    """`wideseek-tools mcp`."""
    config = load_config(McpCommand, arguments, usage=f"wideseek-tools mcp {SETTINGS}")
    require_modules("mcp", feature="the MCP server", install="wideseek-tools[mcp]")
    from wideseek_tools.mcp import make_server

    async def run() -> None:
        async with open_tools(config) as tools:
            server = make_server(tools)
            if config.transport == "stdio":
                await server.run_stdio_async()
            else:
                await server.run_streamable_http_async(host=config.host, port=config.port)

    asyncio.run(run())


def check(arguments: Sequence[str]) -> None:
    """`wideseek-tools check`."""
    from wideseek_tools import check as checks

    for name in ("ddgs", "primp"):  # each of ddgs' engines logs why it failed
        logging.getLogger(name).setLevel(logging.ERROR)
    usage = f"wideseek-tools check {SETTINGS}"
    findings = asyncio.run(checks.check(load_config(checks.CheckConfig, arguments, usage=usage)))
    width = max(len(finding.backend) for finding in findings)
    for finding in findings:
        works = "works" if finding.works else "no   "
        show(f"{works}  {finding.backend:{width}}  {finding.note}")


def schemas(arguments: Sequence[str]) -> None:
    """`wideseek-tools schemas`."""
    if split_arguments(arguments, ()).settings:
        raise ConfigError("usage: wideseek-tools schemas")
    show(json.dumps(openai_tools(), indent=2))


PROGRAM = Program(
    name="wideseek-tools",
    summary="Search and page access for agents.",
    distribution="wideseek-tools",
    commands={
        "search": Command(summary="Search and show the results.", run=search),
        "access": Command(summary="Read a page and show its text.", run=access),
        "mcp": Command(summary="Serve both tools over MCP.", run=mcp),
        "check": Command(summary="Try every backend once.", run=check),
        "schemas": Command(summary="Show both tools as OpenAI functions.", run=schemas),
    },
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    with exit_on_error(), logging_to_console():
        PROGRAM.run(list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
