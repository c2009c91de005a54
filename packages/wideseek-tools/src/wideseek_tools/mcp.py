"""An MCP server with the tools `search` and `access`, for any agent that speaks the protocol."""

from typing import Annotated, Any, cast

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError as McpToolError
from pydantic import Field

from wideseek_core.errors import ToolError
from wideseek_core.messages import ToolSpec
from wideseek_tools.open import Tools
from wideseek_tools.schemas import ACCESS, MAX_TOPK, SEARCH, documents_text, page_text

MAX_PAGE_CHARS = 20_000


def _described(tool: ToolSpec, parameter: str) -> Any:
    """A parameter's description and bounds, which are stated and not enforced: values are cut."""
    properties = cast(dict[str, dict[str, Any]], tool.parameters["properties"])
    given = dict(properties[parameter])
    stated = {name: given[name] for name in ("minimum", "maximum") if name in given}
    return Field(description=given["description"], json_schema_extra=stated or None)


def make_server(tools: Tools) -> MCPServer[None]:
    """The server over open tools; run it over stdio or streamable HTTP."""
    server: MCPServer[None] = MCPServer("wideseek", log_level="WARNING")

    async def search(
        query: Annotated[str, _described(SEARCH, "query")],
        topk: Annotated[int, _described(SEARCH, "topk")] = 5,
    ) -> str:
        try:
            found = await tools.search.search(query, max(1, min(topk, MAX_TOPK)))
        except ToolError as error:
            raise McpToolError(str(error)) from None
        return documents_text(found)

    async def access(
        url: Annotated[str, _described(ACCESS, "url")],
        offset: Annotated[int, _described(ACCESS, "offset")] = 0,
    ) -> str:
        try:
            return page_text(await tools.pages.read(url), MAX_PAGE_CHARS, max(0, offset))
        except ToolError as error:
            raise McpToolError(str(error)) from None

    server.add_tool(search, name=SEARCH.name, description=SEARCH.description)
    server.add_tool(access, name=ACCESS.name, description=ACCESS.description)
    return server
