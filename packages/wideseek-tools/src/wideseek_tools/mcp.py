"""An MCP server with the tools `search` and `access`, for any agent that speaks the protocol."""

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError as McpToolError

from wideseek_core.errors import ToolError
from wideseek_tools.open import Tools
from wideseek_tools.schemas import ACCESS, SEARCH, documents_text, page_text

MOST = 50
MAX_PAGE_CHARS = 20_000


def make_server(tools: Tools) -> MCPServer[None]:
    """The server over open tools; run it with `await server.run_stdio_async()`."""
    server: MCPServer[None] = MCPServer("wideseek", log_level="WARNING")

    async def search(query: str, topk: int = 5) -> str:
        try:
            return documents_text(await tools.search.search(query, max(1, min(topk, MOST))))
        except ToolError as error:
            raise McpToolError(str(error)) from None

    async def access(url: str) -> str:
        try:
            return page_text(await tools.pages.read(url), MAX_PAGE_CHARS)
        except ToolError as error:
            raise McpToolError(str(error)) from None

    server.add_tool(search, name=SEARCH.name, description=SEARCH.description)
    server.add_tool(access, name=ACCESS.name, description=ACCESS.description)
    return server
