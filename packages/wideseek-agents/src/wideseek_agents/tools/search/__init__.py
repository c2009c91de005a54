"""The tool `search`: finds documents."""

from dataclasses import dataclass
from pathlib import Path

from wideseek_agents.arguments import Argument, ArgumentSchema, Request
from wideseek_agents.tools.protocol import ToolContext, ToolDefinition, within
from wideseek_core import Document, ToolResult
from wideseek_core.templates import placeholders
from wideseek_core.text import cut, one_line

MAX_DOCUMENTS = 9
"""A model may ask for fewer than 10 documents a query."""


@dataclass(frozen=True, slots=True)
class Search:
    """Finds documents for a query."""

    context: ToolContext

    async def answer(self, request: Request) -> ToolResult:
        """Numbered documents with title, URL and text."""
        config = self.context.config
        count = request.integer("count")
        k = max(1, min(config.top_k if count is None else count, MAX_DOCUMENTS))
        found = self.context.search.search(request.subject, k)
        documents = await within(config.tool_timeout_s, found)
        if not documents:
            text = self.context.words["no_documents"].fill(query=request.subject)
            return ToolResult(request=request.subject, text=text)
        shown = documents[:k]
        parts = [self._show(number, document) for number, document in enumerate(shown, 1)]
        return ToolResult(
            request=request.subject,
            text=self.context.separator.join(parts),
            urls=tuple(document.url for document in shown),
        )

    def _show(self, number: int, document: Document) -> str:
        return self.context.words["document"].fill(
            n=number,
            title=one_line(document.title),
            url=one_line(document.url),
            text=cut(document.text, self.context.config.max_document_chars),
        )


DEFINITION = ToolDefinition(
    name="search",
    schema=ArgumentSchema(
        subject="query",
        options=(Argument(name="count", type="integer", default=3),),
        many="queries",
    ),
    words=Path(__file__).parent,
    messages={
        "result": placeholders("text", "n request"),
        "document": placeholders("url text", "n title"),
        "no_documents": placeholders("", "query"),
    },
    open=lambda context: Search(context).answer,
)
