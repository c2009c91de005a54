"""`wideseek-tools`: search, read, check backends, show schemas, serve MCP."""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence

from wideseek_core.config import exit_on_error, load_config
from wideseek_core.errors import ConfigError
from wideseek_core.progress import logging_to_console, show
from wideseek_tools.config import ToolsConfig
from wideseek_tools.open import open_tools
from wideseek_tools.schemas import documents_text, openai_tools, page_text

USAGE = """\
wideseek-tools search QUERY [CONFIG.yaml] [a.b=c ...]   search and show the results
wideseek-tools access URL [CONFIG.yaml] [a.b=c ...]     read a page and show its text
wideseek-tools mcp [CONFIG.yaml] [a.b=c ...]            serve both tools over MCP (stdio)
wideseek-tools check [CONFIG.yaml] [a.b=c ...]          try every backend once
wideseek-tools schemas                                  OpenAI function schemas as JSON
Add --help to a command for its settings, e.g. search.kind=serper pages.kind=fetch"""
TOPK = 5
MAX_CHARS = 100_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with exit_on_error(), logging_to_console():
        if command in ("-h", "--help"):
            show(USAGE)
        elif command == "schemas":
            show(json.dumps(openai_tools(), indent=2))
        elif command == "check":
            asyncio.run(_check(rest))
        elif command == "mcp":
            asyncio.run(_mcp(load_config(ToolsConfig, rest)))
        elif command in ("search", "access"):
            if not rest or rest[0] in ("-h", "--help"):
                load_config(ToolsConfig, ["--help"])
            asyncio.run(_one(command, rest[0], load_config(ToolsConfig, rest[1:])))
        else:
            known = "search, access, mcp, check, schemas"
            raise ConfigError(f"unknown command {command!r}: expected one of {known}")


async def _one(command: str, request: str, config: ToolsConfig) -> None:
    async with open_tools(config) as tools:
        if command == "search":
            show(documents_text(await tools.search.search(request, TOPK)))
        else:
            show(page_text(await tools.pages.read(request), MAX_CHARS))


async def _mcp(config: ToolsConfig) -> None:
    try:
        from wideseek_tools.mcp import make_server
    except ImportError as error:
        line = f"the MCP server needs: pip install 'wideseek-tools[mcp]' ({error})"
        raise ConfigError(line) from None
    async with open_tools(config) as tools:
        await make_server(tools).run_stdio_async()


async def _check(arguments: list[str]) -> None:
    from wideseek_tools.check import CheckConfig, check

    for name in ("ddgs", "primp"):  # each of ddgs' engines logs why it failed
        logging.getLogger(name).setLevel(logging.ERROR)
    findings = await check(load_config(CheckConfig, arguments))
    width = max(len(one.backend) for one in findings)
    for one in findings:
        show(f"{'works' if one.works else 'no   '}  {one.backend:{width}}  {one.note}")


if __name__ == "__main__":
    main()
